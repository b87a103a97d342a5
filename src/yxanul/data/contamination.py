"""Decontamination: the n-grams of benchmark test sets, in a file that every worker reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.files import plain_digest
from yxanul.base.registry import lookup
from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.text.benchmarks import BENCHMARKS, Benchmark
from yxanul.text.config import ColumnSettings, JsonlSettings, ParquetSettings
from yxanul.text.decontaminate import ngrams_of
from yxanul.text.documents import CAUSES, Dropped, SourceSlice
from yxanul.text.sources import Source, open_source
from yxanul.text.sources.files import find_files
from yxanul.text.sources.jsonl import JsonlSource

# Joins the columns of a row on its way through a source; no text contains this character.
_SEPARATOR = "\x1f"


def comparison_digest(settings: DataSettings) -> str:
    """Return a digest of the settings for decontamination and deduplication."""
    compared: dict[str, Any] = {"benchmarks": dict(sorted(settings.benchmarks.items()))}
    if settings.deduplicate is not None:
        compared["deduplicate"] = settings.deduplicate.model_dump(mode="json")
        compared["sources"] = list(settings.sources)
    return plain_digest(compared)


def benchmark_ngrams(folder: Path, benchmarks: Mapping[str, str | None], ui: Ui) -> Path | None:
    """Return the n-gram file of the benchmarks, created if missing; None without benchmarks."""
    if not benchmarks:
        return None
    states = {name: _state(name, path) for name, path in sorted(benchmarks.items())}
    file = folder / f"benchmarks-{plain_digest(states)[:16]}.npz"
    if not file.is_file():
        texts = chain.from_iterable(_texts(*item) for item in benchmarks.items())
        ngrams = ngrams_of(texts)
        ngrams.save(file)
        ui.say(
            f"decontamination: searching every source for {len(ngrams):,} n-grams of"
            f" {', '.join(benchmarks)}; skipped {ngrams.too_short:,} texts as too short"
        )
    return file


def benchmark_texts(name: str, path: str | None = None) -> Iterator[str]:
    """Yield the texts of a benchmark's test set to decontaminate against, from a file or the hub.

    An unreadable row raises YxanulError: half a test set protects nothing.
    """
    benchmark = lookup(BENCHMARKS, name, "benchmark")
    source, parts = _open_set(name, _ways_to_read(benchmark, path))
    for part in parts:
        for item in source.read(part):
            if isinstance(item, Dropped):
                what = f"the test set of {name}: {item.where} {CAUSES[item.cause]}"
                raise YxanulError(what, hint="fix the file, or omit its path to use the hub")
            yield from benchmark.texts(item.text.split(_SEPARATOR, len(benchmark.columns[0]) - 1))


def _ways_to_read(benchmark: Benchmark, path: str | None) -> Iterator[ColumnSettings]:
    for columns in benchmark.columns:
        template = _SEPARATOR.join(f"{{{column}}}" for column in columns)
        if path is None:
            yield benchmark.hub.model_copy(update={"template": template})
            return
        kind = ParquetSettings if path.endswith(".parquet") else JsonlSettings
        yield kind(path=path, template=template)


def _open_set(name: str, ways: Iterator[ColumnSettings]) -> tuple[Source, list[SourceSlice]]:
    """Return the first source whose columns exist, and its slices."""
    problems: list[YxanulError] = []
    for settings in ways:
        source = open_source(name, settings)
        try:
            return source, source.slices()
        except YxanulError as problem:
            problems.append(problem)
    raise problems[0]


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Prefix errors with the recipe key they are about."""
    try:
        yield
    except YxanulError as error:
        raise YxanulError(
            f"data.decontaminate.benchmarks.{name}: {error.what}",
            got=error.got,
            expected=error.expected,
            hint=error.hint or "data.decontaminate=null disables decontamination",
        ) from None


def _texts(name: str, path: str | None) -> Iterator[str]:
    with _named(name):
        yield from benchmark_texts(name, path)


def _state(name: str, path: str | None) -> list[Any]:
    """Return a value that changes with the files at `path`; hub test sets count as immutable."""
    with _named(name):
        files = [] if path is None else find_files(path, JsonlSource.suffixes)
    return [path, *([file.name, file.fingerprint] for file in files)]
