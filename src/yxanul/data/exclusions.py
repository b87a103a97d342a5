"""What benchmarks ask, as a file that every worker reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.files import plain_digest
from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.text.benchmarks import benchmark_texts
from yxanul.text.decontaminate import ngrams_of
from yxanul.text.sources.files import find_files
from yxanul.text.sources.jsonl import JsonlSource

Benchmarks = Mapping[str, str | None]
"""The file of each benchmark's test set; None is the hub's."""


def comparison_digest(settings: DataSettings, benchmarks: Benchmarks) -> str:
    """Return a mark of all that drops documents by comparison: benchmarks, and other documents."""
    compared: dict[str, Any] = {"benchmarks": dict(sorted(benchmarks.items()))}
    if settings.deduplicate is not None:
        compared["deduplicate"] = settings.deduplicate.model_dump(mode="json")
        compared["sources"] = list(settings.sources)
    return plain_digest(compared)


def benchmark_ngrams(folder: Path, benchmarks: Benchmarks, ui: Ui) -> Path | None:
    """Return the file of the runs of words that training must not see, made if it is not there;
    None if no benchmark is named."""
    if not benchmarks:
        return None
    states = {name: _state(name, path) for name, path in sorted(benchmarks.items())}
    file = folder / f"benchmarks-{plain_digest(states)[:16]}.npz"
    if not file.is_file():
        texts = chain.from_iterable(_texts(*item) for item in benchmarks.items())
        ngrams = ngrams_of(texts)
        ngrams.save(file)
        ui.say(
            f"decontamination: {len(ngrams):,} runs of words of {', '.join(benchmarks)} are looked"
            f" for in every source; {ngrams.too_short:,} texts are too short to look for"
        )
    return file


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Say which key of the recipe an error is about."""
    try:
        yield
    except YxanulError as error:
        raise YxanulError(
            f"eval.benchmarks.{name}: {error.what}",
            found=error.found,
            wanted=error.wanted,
            hint=error.hint or "data.decontaminate: false prepares without it",
        ) from None


def _texts(name: str, path: str | None) -> Iterator[str]:
    with _named(name):
        yield from benchmark_texts(name, path)


def _state(name: str, path: str | None) -> list[Any]:
    """Return what changes when a file, or one of a folder's, does; the hub's are taken as fixed."""
    with _named(name):
        files = [] if path is None else find_files(path, JsonlSource.suffixes)
    return [path, *([file.name, file.fingerprint] for file in files)]
