"""Files of several kinds, each read as what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.text.config import (
    ColumnSettings,
    CommonSettings,
    JsonlSettings,
    ParquetSettings,
    TextSettings,
)
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.csv_rows import CsvSource
from yxanul.text.sources.file_source import FileSource
from yxanul.text.sources.files import File, find_files
from yxanul.text.sources.html import HtmlSource
from yxanul.text.sources.jsonl import JsonlSource
from yxanul.text.sources.kinds import SUFFIXES, Kind, kind_of, suffix_of
from yxanul.text.sources.parquet import ParquetSource
from yxanul.text.sources.plain_text import PlainTextSource
from yxanul.text.sources.remote import is_remote
from yxanul.text.sources.source import digest_of
from yxanul.text.split import Split, is_small, runs_of_few

_OPEN: dict[Kind, Callable[[str, Any, Sequence[File]], Any]] = {
    "text": PlainTextSource,
    "html": HtmlSource,
    "jsonl": JsonlSource,
    "csv": CsvSource,
    "parquet": ParquetSource,
}
_ROWS: dict[Kind, type[JsonlSettings | ParquetSettings]] = {
    "jsonl": JsonlSettings,
    "csv": JsonlSettings,
    "parquet": ParquetSettings,
}
# More remote files than this are not read before they are split.
_FEW_REMOTE_FILES = 16


class TextFiles:
    """The source of kind `text`: text, HTML, and rows that hold text."""

    synthetic = False

    def __init__(self, name: str, settings: TextSettings):
        self.name = name
        self.settings = settings

    @property
    def notes(self) -> list[str]:
        """How many files there are of which kind, and which columns were guessed."""
        kinds = {kind: source.files for kind, source in self._sources.items()}
        told = [self._counts(kinds)] if self._left_out or set(kinds) != {"text"} else []
        return told + [note for source in self._sources.values() for note in source.notes]

    def parts(self) -> list[SourceSlice]:
        """The parts of each kind; under a limit all are one."""
        for cached in ("_found", "_sources"):
            vars(self).pop(cached, None)
        found = {kind: source.parts() for kind, source in self._sources.items()}
        parts = [replace(part, kind=kind) for kind, some in found.items() for part in some]
        limit = self.settings.limit
        if limit is None or len(found) == 1:
            return parts
        mark = digest_of(*(f"{part.name}\t{part.fingerprint}" for part in parts))
        return [SourceSlice(f"first {limit} of all", None, mark)]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the part, in order."""
        if part.name == f"first {self.settings.limit} of all":
            sources = self._sources.values()
            every = (s.read(one) for s in sources for one in s.parts())
            yield from islice(chain.from_iterable(every), self.settings.limit)
            return
        if part.kind not in self._sources:
            raise YxanulError(f"'{part.name}' is gone from {self.settings.path}")
        source = self._sources[part.kind]
        yield from source.read(part)
        if isinstance(source, FileSource):
            source.check_unchanged(part)

    def files_of(self, part: SourceSlice) -> list[str]:
        """Return the names of the files that a part is made of."""
        source = self._sources.get(part.kind)
        return source.files_of(part) if isinstance(source, PlainTextSource) else []

    def split(self, fraction: float) -> Split:
        """Return what is held out: runs of passages, and documents of other shapes by hash."""
        texts = [s for s in self._sources.values() if isinstance(s, PlainTextSource)]
        files = [file for source in texts for file in source.files]
        in_runs = self.settings.split_by in ("auto", "passages") and self.settings.limit is None
        if not in_runs or not texts:
            return Split(fraction, by_position=False)
        run_bytes = texts[0].run_bytes
        if is_small(sum(file.size_bytes or 0 for file in files), fraction, run_bytes):
            if is_remote(self.settings.path) and len(files) > _FEW_REMOTE_FILES:
                return Split(fraction, by_position=False)
            sized = [one for source in texts for one in source.sized()]
            return Split(fraction, runs=runs_of_few(sized, fraction, run_bytes))
        return Split(fraction)

    @cached_property
    def _sources(self) -> dict[Kind, Any]:
        """The source of each kind of file."""
        files: dict[Kind, list[File]] = {}
        for kind, file in self._found:
            if kind is not None:
                files.setdefault(kind, []).append(file)
        if not files:
            raise self._nothing_to_read()
        settings = self.settings
        if (settings.text_column or settings.template) and not files.keys() & _ROWS.keys():
            raise YxanulError(
                f"the source '{self.name}' has no columns",
                found=f"plain text in {settings.path}",
                hint="leave text_column and template out",
            )
        return {
            kind: _OPEN[kind](self.name, self._settings_for(kind), files[kind])
            for kind in SUFFIXES
            if kind in files
        }

    @cached_property
    def _found(self) -> list[tuple[Kind | None, File]]:
        """The files, with their kinds."""
        settings = self.settings
        chosen = settings.suffixes
        if chosen == type(settings).model_fields["suffixes"].default:
            known = (suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
            chosen = tuple(known) if is_remote(settings.path) else ("",)
        return [(kind_of(file), file) for file in find_files(settings.path, chosen)]

    @property
    def _left_out(self) -> list[File]:
        return [file for kind, file in self._found if kind is None]

    def _settings_for(self, kind: Kind) -> CommonSettings:
        if kind not in _ROWS:
            return self.settings
        common = {name: getattr(self.settings, name) for name in ColumnSettings.model_fields}
        return _ROWS[kind](path=self.settings.path, **common)

    def _counts(self, kinds: dict[Kind, list[File]]) -> str:
        counts = [f"{len(files)} {kind}" for kind, files in kinds.items()]
        left_out = Counter(suffix_of(file.name) or "no suffix" for file in self._left_out)
        if left_out:
            counts.append(
                "left out as no text: " + ", ".join(f"{n} {s}" for s, n in left_out.items())
            )
        return f"files: {', '.join(counts)}"

    def _nothing_to_read(self) -> YxanulError:
        some = ", ".join(file.name for file in self._left_out[:3])
        return YxanulError(
            f"{self.settings.path} holds nothing that can be read as text",
            found=f"{len(self._left_out)} files ({some} ...)" if len(self._left_out) > 1 else some,
            hint="convert such files to text first, such as with pdftotext or pandoc, "
            "and unpack archives",
        )
