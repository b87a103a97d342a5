"""Source of text that needs no download."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from yxanul.text.config import BuiltinSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.source import digest_of, parse_range, range_name, ranges

DOCUMENTS = 10_000
DOCUMENTS_A_PART = 1000
MODULES_A_PART = 32


class BuiltinSource:
    """Stories, sums and reasoning made by rules; or the standard library's own sources."""

    def __init__(self, name: str, settings: BuiltinSettings):
        self.name = name
        self.settings = settings

    @property
    def synthetic(self) -> bool:
        """Whether rules make the text."""
        return self.settings.domain != "python"

    @property
    def notes(self) -> list[str]:
        """Tells of text that is made up."""
        return [_generators().SYNTHETIC_NOTICE] if self.synthetic else []

    def parts(self) -> list[SourceSlice]:
        """Runs of documents, or of modules."""
        if self.synthetic:
            mark = digest_of(_code_digest(), str(self.settings.seed))
            runs = ranges(self._at_most or 0, DOCUMENTS_A_PART)
        else:
            modules = _python_sources().modules()
            mark = digest_of(_modules_digest(tuple(modules)), str(self._at_most))
            # Nobody knows how many documents a module has: under a limit there is one part.
            runs = ranges(len(modules), len(modules) if self._at_most else MODULES_A_PART)
        return [SourceSlice(range_name(self.settings.domain, run), None, mark) for run in runs]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of one run."""
        numbers = parse_range(self.name, part.name)
        if self.synthetic:
            return self._generated(numbers)
        return islice(self._python(numbers), self._at_most)

    @property
    def _at_most(self) -> int | None:
        given = [n for n in (self.settings.documents, self.settings.limit) if n is not None]
        if self.synthetic and self.settings.documents is None:
            given.append(DOCUMENTS)
        return min(given, default=None)

    def _generated(self, numbers: range) -> Iterator[Document]:
        domain, seed = self.settings.domain, self.settings.seed
        document = _generators().DOMAINS[domain]
        for number in numbers:
            yield Document(f"{domain}#{number}", self.name, document(number, seed))

    def _python(self, numbers: range) -> Iterator[Document | Dropped]:
        library = _python_sources()
        for path in library.modules()[numbers.start : numbers.stop]:
            name = _module_name(path)
            try:
                for suffix, text in library.documents(path):
                    yield Document(f"{name}#{suffix}", self.name, text)
            except (UnicodeDecodeError, SyntaxError):
                yield Dropped("broken_utf8", name)
            except OSError:
                yield Dropped("unreadable", name)


# Both are imported when they are used: they are many files, and a recipe needs none of them.
def _generators() -> Any:
    return import_module("yxanul.text.sources.builtin")


def _python_sources() -> Any:
    return import_module("yxanul.text.sources.builtin.python_sources")


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Return a mark of the generators' code and words: other ones make other text."""
    folder = Path(__file__).parent / "builtin"
    files = sorted([*folder.rglob("*.py"), *folder.rglob("*.yaml")])
    return digest_of(*(f"{path.relative_to(folder)}\n{path.read_text()}" for path in files))


@lru_cache(maxsize=1)
def _modules_digest(modules: tuple[Path, ...]) -> str:
    sizes = (f"{_module_name(path)} {path.stat().st_size}" for path in modules)
    return digest_of(sys.version, _code_digest(), *sizes)


def _module_name(path: Path) -> str:
    """Return the path of a module inside the standard library."""
    return path.relative_to(_python_sources().library_folder()).as_posix()
