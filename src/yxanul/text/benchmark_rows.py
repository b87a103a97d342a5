"""Rows of benchmark test sets, from files or from the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from yxanul.base.errors import YxanulError
from yxanul.base.registry import lookup
from yxanul.text.benchmarks import BENCHMARKS
from yxanul.text.config import HubSettings
from yxanul.text.documents import CURES, PROBLEMS, Dropped
from yxanul.text.sources.bytestream import ByteStream
from yxanul.text.sources.columns import Row
from yxanul.text.sources.files import File, find_files, with_compressions
from yxanul.text.sources.hub_files import hub_file
from yxanul.text.sources.hub_plan import ROWS, commit_of, find_plan
from yxanul.text.sources.hub_query import HubQuery, is_offline
from yxanul.text.sources.hub_rows import load
from yxanul.text.sources.parquet import opened, rows_of
from yxanul.text.sources.retry import retry
from yxanul.text.sources.rows import json_rows

SUFFIXES = (".jsonl", ".json", ".ndjson", ".parquet")
Parsed = TypeVar("Parsed")


def read_benchmark(name: str, path: str | None, parse: Callable[[Row], Parsed]) -> Iterator[Parsed]:
    """Yield `parse(row)` for each row of a test set: of the file or folder `path`, else the hub.

    A row that cannot be read or parsed raises YxanulError: half a test set measures and protects
    nothing. `parse` may raise KeyError, or ValueError with what is wrong.
    """
    rows = _hub_rows(name) if path is None else _rows(name, find_files(path, SUFFIXES))
    number = 0
    for number, (where, row) in enumerate(rows, start=1):
        try:
            yield parse(row)
        except KeyError as error:
            what = f"{where} has no column {error}"
            raise YxanulError(what, got=", ".join(row)) from None
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            what = f"row {number} of {where} is not one of {name}"
            raise YxanulError(what, got=error) from None
    if not number:
        raise YxanulError(f"the test set of {name} is empty", got=path)


def find_benchmark(name: str, folder: Path) -> Path | None:
    """Return the file or folder of a test set in a folder or its subfolders; None if there is none.

    It is `<name>.jsonl` (also .json, .parquet and compressed), else it has another known stem.
    """
    benchmark = lookup(BENCHMARKS, name, "benchmark")
    if not folder.is_dir():
        raise YxanulError(f"the folder of benchmarks {folder} does not exist")
    stems, endings = (name, *benchmark.stems), with_compressions(SUFFIXES)
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.name.partition(".")[0] in stems
        and (path.is_dir() if benchmark.is_folder else path.name.endswith(endings))
    ]
    found = [path for path in found if path.name.partition(".")[0] == name] or found
    if len(found) > 1:
        several = ", ".join(str(path.relative_to(folder)) for path in found)
        raise YxanulError(f"{folder} has several files for {name}", got=several)
    return found[0] if found else None


def _rows(name: str, files: Iterable[File]) -> Iterator[tuple[str, Row]]:
    for file in files:
        is_parquet = file.name.endswith(".parquet")
        rows = _parquet_rows(file) if is_parquet else json_rows(ByteStream(file), file.name)
        for row in rows:
            if isinstance(row, Dropped):
                what = f"the test set of {name}: {row.where} {PROBLEMS[row.cause]}"
                raise YxanulError(what, hint=CURES.get(row.cause))
            yield file.name, row


def _parquet_rows(file: File) -> Iterator[Row | Dropped]:
    import pyarrow as pa

    with opened(file) as parquet:
        if isinstance(parquet, str):
            yield Dropped(parquet, file.name)
            return
        try:
            for batch in parquet.iter_batches(use_threads=False):
                yield from (row or Dropped("broken_utf8", file.name) for row in rows_of(batch))
        except (OSError, pa.ArrowException):
            yield Dropped("corrupt", file.name)


def _hub_rows(name: str) -> Iterator[tuple[str, Row]]:
    hub = lookup(BENCHMARKS, name, "benchmark").hub
    if hub is None:
        raise YxanulError(f"{name} is not on the Hugging Face hub", hint="give its file")
    for config in _configs(hub):
        query = HubQuery.of(hub)._replace(config=config)
        plan = find_plan(query, quick=True)
        query = query._replace(revision=plan.commit)
        if plan.format == ROWS:
            yield from ((f"'{hub.name}'", row) for row in load(query, False))
        else:
            files = [hub_file(entry, query, False, downloads=True) for entry in plan.files]
            yield from _rows(name, files)


def _configs(hub: HubSettings) -> Sequence[str | None]:
    if hub.config != "*":
        return [hub.config]

    def names() -> list[str]:
        from datasets import get_dataset_config_names

        return get_dataset_config_names(hub.name)

    query = HubQuery.of(hub)
    if not is_offline():  # without a network, `names` takes minutes
        retry(lambda: commit_of(query), query, quick=True)
    return retry(names, query, client_waits=True)
