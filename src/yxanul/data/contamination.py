"""Decontamination: the n-grams of benchmark test sets, in a file that every worker reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.files import plain_digest
from yxanul.base.registry import lookup
from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.data.storage import Storage
from yxanul.text.benchmark_rows import SUFFIXES, read_benchmark
from yxanul.text.benchmarks import BENCHMARKS
from yxanul.text.decontaminate import ngrams_of
from yxanul.text.sources.files import find_files


def comparison_digest(settings: DataSettings) -> str:
    """Return a digest of the settings for decontamination and deduplication."""
    compared: dict[str, Any] = {"benchmarks": dict(sorted(settings.benchmarks.items()))}
    if settings.deduplicate is not None:
        compared["deduplicate"] = settings.deduplicate.model_dump(mode="json")
        compared["sources"] = list(settings.sources)
    return plain_digest(compared)


def benchmark_ngrams(storage: Storage, benchmarks: Mapping[str, str | None], ui: Ui) -> str | None:
    """Return the name of the n-gram file of the benchmarks, created if missing; None without
    benchmarks."""
    if not benchmarks:
        return None
    states = {name: _state(name, path) for name, path in sorted(benchmarks.items())}
    file = storage.folder / f"benchmarks-{plain_digest(states)[:16]}.npz"
    if not file.is_file():
        texts = chain.from_iterable(benchmark_texts(*item) for item in benchmarks.items())
        ngrams = ngrams_of(texts)
        ngrams.save(file)
        storage.push([file])
        ui.say(
            f"decontamination: searching every source for {len(ngrams):,} n-grams of"
            f" {', '.join(benchmarks)}; skipped {ngrams.too_short:,} texts as too short"
        )
    return file.name


def benchmark_texts(name: str, path: str | None = None) -> Iterator[str]:
    """Yield the texts of a benchmark's test set to decontaminate against, from a file or the hub.

    An unreadable row raises YxanulError: half a test set protects nothing.
    """
    with _named(name):
        texts = lookup(BENCHMARKS, name, "benchmark").texts
        yield from chain.from_iterable(read_benchmark(name, path, lambda row: list(texts(row))))


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


def _state(name: str, path: str | None) -> list[Any]:
    """Return a value that changes with the files at `path`; hub test sets count as immutable."""
    with _named(name):
        files = [] if path is None else find_files(path, SUFFIXES)
    return [path, *([file.name, file.fingerprint] for file in files)]
