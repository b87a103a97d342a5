"""Data sets of the hub in formats that `datasets` reads for us: csv, arrow, archives ..."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from yxanul.text.config import HubSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.arrow_rows import ROWS_AT_ONCE, rows_of, text_like
from yxanul.text.sources.columns import SAMPLE_ROWS, Columns, Row, choose_columns
from yxanul.text.sources.files import digest_of
from yxanul.text.sources.hub_load import load_streamed, load_whole
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.ranges import parse_range, range_name, ranges
from yxanul.text.sources.retry import explained

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, IterableDataset

ROWS_A_PART = 20_000


class _Rows(ABC):
    """The rows of a split, some columns of which become text."""

    synthetic = False

    def __init__(self, name: str, settings: HubSettings, wanted: HubQuery):
        self.name = name
        self.settings = settings
        self._wanted = wanted

    @property
    def notes(self) -> list[str]:
        """Which column was guessed."""
        return [self._columns.note] if self._columns.note else []

    @cached_property
    def _columns(self) -> Columns:
        return self._choose_columns()

    @abstractmethod
    def _choose_columns(self) -> Columns:
        """Look at the first rows if the settings leave the columns open."""


class WholeRows(_Rows):
    """The rows of a split that was downloaded and built whole; a part is a run of rows."""

    def parts(self) -> list[SourceSlice]:
        """Runs of rows."""
        mark = digest_of(_version_of(self._dataset), repr(self._columns))
        total = len(self._dataset)
        runs = ranges(min(total, self.settings.limit or total), ROWS_A_PART)
        return [SourceSlice(range_name(self._wanted.split, run), None, mark) for run in runs]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the part's rows."""
        numbers = parse_range(self.name, part.name)
        table = self._dataset.select_columns(self._columns.names).with_format("arrow")
        for start in range(numbers.start, numbers.stop, ROWS_AT_ONCE):
            rows = rows_of(table[start : min(start + ROWS_AT_ONCE, numbers.stop)])
            for number, row in enumerate(rows, start):
                yield _document(row, self._columns, self.name, f"{self._wanted.split}#{number}")

    @property
    def _dataset(self) -> Dataset:
        return load_whole(self._wanted)

    def _choose_columns(self) -> Columns:
        where, names = f"'{self._wanted.name}'", self._dataset.column_names
        return choose_columns(self.settings, names, self._sample, where)

    def _sample(self) -> list[Row]:
        names = text_like(self._dataset.features.arrow_schema)
        if not names:
            return []
        rows = self._dataset.select_columns(names).with_format("arrow")[:SAMPLE_ROWS]
        return [row for row in rows_of(rows) if row is not None]


class StreamedRows(_Rows):
    """The rows of a split as they come from the hub; a part is what `datasets` calls a shard."""

    def parts(self) -> list[SourceSlice]:
        """One for every shard; one in all under a limit."""
        limit, split = self.settings.limit, self._wanted.split
        mark = digest_of(repr(self._wanted), repr(self._columns))
        if limit is not None:
            return [SourceSlice(f"{split}, first {limit}", None, mark)]
        numbers = range(self._dataset.num_shards)
        return [SourceSlice(range_name(split, range(n, n + 1)), None, mark) for n in numbers]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a shard."""
        dataset, place = self._dataset, self._wanted.split
        if self.settings.limit is None:
            number = parse_range(self.name, part.name).start
            dataset = dataset.shard(dataset.num_shards, number, contiguous=True)
            place = f"{place}:{number}"
        rows = (row for table in self._tables(dataset) for row in rows_of(table))
        for number, row in enumerate(islice(rows, self.settings.limit)):
            yield _document(row, self._columns, self.name, f"{place}#{number}")

    def _tables(self, dataset: IterableDataset) -> Iterator[pa.Table]:
        """Yield some rows at a time; the library has its own patience with each reading."""
        try:
            yield from dataset.with_format("arrow").iter(ROWS_AT_ONCE)
        except Exception as error:
            raise explained(self._wanted, error) from error

    @property
    def _dataset(self) -> IterableDataset:
        return load_streamed(self._wanted)

    def _choose_columns(self) -> Columns:
        where = f"'{self._wanted.name}'"
        first = next(self._tables(self._dataset), None)
        names = first.column_names if first is not None else []
        return choose_columns(self.settings, names, lambda: _sample(first), where)


def _sample(table: pa.Table | None) -> list[Row]:
    if table is None:
        return []
    rows = rows_of(table.select(text_like(table.schema)))
    return [row for row in rows if row is not None]


def _version_of(dataset: Dataset) -> str:
    """Return what changes with the content: the client names its files after commit or content."""
    files = [Path(file["filename"]).parts[-4:] for file in dataset.cache_files]
    return repr((files, len(dataset))) if files else dataset._fingerprint


def _document(row: Row | None, columns: Columns, source: str, name: str) -> Document | Dropped:
    if row is None:
        return Dropped("broken_utf8", name)
    return columns.document(row, source, name)
