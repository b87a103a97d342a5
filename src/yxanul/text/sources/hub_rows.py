"""Rows of hub datasets in formats that only `datasets` reads: csv, arrow, archives ..."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from yxanul.base.errors import missing_package
from yxanul.text.config import HubSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.columns import SAMPLE_ROWS, Columns, Row, choose_columns
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.parquet import ROWS_AT_ONCE, rows_of, text_like
from yxanul.text.sources.retry import retry, to_user_error
from yxanul.text.sources.source import digest_of, parse_range, range_name, ranges

ROWS_A_PART = 20_000


@lru_cache(maxsize=8)
def load(query: HubQuery, streaming: bool) -> Any:
    """Open the dataset, once per process; with streaming, nothing is downloaded yet.

    The client finds the token itself: HF_TOKEN, or that of `hf auth login`.
    """
    try:
        from datasets import load_dataset
    except ImportError:
        raise missing_package("datasets", "data") from None
    name, config, split = query.name, query.config, query.split
    return retry(
        lambda: load_dataset(name, config, split=split, streaming=streaming, **query.options), query
    )


class _HubRows(ABC):
    """Rows of a split."""

    synthetic = False
    streaming: bool

    def __init__(self, name: str, settings: HubSettings, query: HubQuery):
        self.name = name
        self.settings = settings
        self._query = query

    @property
    def notes(self) -> list[str]:
        """Note about a guessed column."""
        return [self._columns.note] if self._columns.note else []

    @property
    def _dataset(self) -> Any:
        return load(self._query, self.streaming)

    @cached_property
    def _columns(self) -> Columns:
        names, sample = self._sample()
        return choose_columns(self.settings, names, sample, f"'{self._query.name}'")

    @abstractmethod
    def _sample(self) -> tuple[list[str], Callable[[], list[Row]]]:
        """Return all column names, and a function that reads the first rows of text-like ones."""

    def _document(self, row: Row | None, name: str) -> Document | Dropped:
        if row is None:
            return Dropped("broken_utf8", name)
        return self._columns.document(row, self.name, name)


class DownloadedRows(_HubRows):
    """Rows of a split that is downloaded and built as a whole; a slice is a range of rows."""

    streaming = False

    def slices(self) -> list[SourceSlice]:
        """Return a slice per range of rows."""
        mark = digest_of(_version_of(self._dataset), repr(self._columns))
        total = len(self._dataset)
        runs = ranges(min(total, self.settings.limit or total), ROWS_A_PART)
        return [SourceSlice(range_name(self._query.split, run), None, mark) for run in runs]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the slice's rows."""
        numbers = parse_range(self.name, part.name)
        table = self._dataset.select_columns(self._columns.names).with_format("arrow")
        for start in range(numbers.start, numbers.stop, ROWS_AT_ONCE):
            rows = rows_of(table[start : min(start + ROWS_AT_ONCE, numbers.stop)])
            for number, row in enumerate(rows, start):
                yield self._document(row, f"{self._query.split}#{number}")

    def _sample(self) -> tuple[list[str], Callable[[], list[Row]]]:
        def sample() -> list[Row]:
            if not (names := text_like(self._dataset.features.arrow_schema)):
                return []
            table = self._dataset.select_columns(names).with_format("arrow")[:SAMPLE_ROWS]
            return [row for row in rows_of(table) if row is not None]

        return self._dataset.column_names, sample


class StreamedRows(_HubRows):
    """Rows of a split streamed from the hub; a slice is a shard of `datasets`."""

    streaming = True

    def slices(self) -> list[SourceSlice]:
        """Return a slice per shard; with a limit a single slice."""
        limit, split = self.settings.limit, self._query.split
        # The class once had another name: the fingerprint, and so the shards, stay valid.
        query = repr(self._query).replace(type(self._query).__name__, "Wanted", 1)
        mark = digest_of(query, repr(self._columns))
        if limit is not None:
            return [SourceSlice(f"{split}, first {limit}", None, mark)]
        numbers = range(self._dataset.num_shards)
        return [SourceSlice(range_name(split, range(n, n + 1)), None, mark) for n in numbers]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a shard."""
        dataset, prefix = self._dataset, self._query.split
        if self.settings.limit is None:
            number = parse_range(self.name, part.name).start
            dataset = dataset.shard(dataset.num_shards, number, contiguous=True)
            prefix = f"{prefix}:{number}"
        rows = (row for table in self._tables(dataset) for row in rows_of(table))
        for number, row in enumerate(islice(rows, self.settings.limit)):
            yield self._document(row, f"{prefix}#{number}")

    def _tables(self, dataset: Any) -> Iterator[Any]:
        """Yield rows in batches; the library retries each read by itself."""
        try:
            yield from dataset.with_format("arrow").iter(ROWS_AT_ONCE)
        except Exception as error:
            raise to_user_error(error, self._query) from error

    def _sample(self) -> tuple[list[str], Callable[[], list[Row]]]:
        first = next(self._tables(self._dataset), None)
        if first is None:
            return [], list
        rows = rows_of(first.select(text_like(first.schema)))
        return first.column_names, lambda: [row for row in rows if row is not None]


def _version_of(dataset: Any) -> str:
    """Return a version of the content; the client names its files by commit or content."""
    files = [Path(file["filename"]).parts[-4:] for file in dataset.cache_files]
    return repr((files, len(dataset))) if files else dataset._fingerprint
