"""Rows of hub datasets in formats that only `datasets` reads: csv, arrow, archives ..."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from yxanul.text.config import HubSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.columns import SAMPLE_ROWS, Columns, choose_columns
from yxanul.text.sources.hub_files import HubFile
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.parquet import ROWS_AT_ONCE, rows_of, text_like
from yxanul.text.sources.retry import retry, to_user_error
from yxanul.text.sources.source import digest_of, range_name, ranges

ROWS_PER_SLICE = 20_000


@lru_cache(maxsize=8)
def load(query: HubQuery, streaming: bool) -> Any:
    """Open the dataset, once per process; with streaming, nothing is downloaded yet.

    The client finds the token itself: HF_TOKEN, or that of `hf auth login`.
    """

    def open_dataset() -> Any:
        from datasets import load_dataset

        options = {"split": query.split, "streaming": streaming, **query.options}
        return load_dataset(query.name, query.config, **options)

    return retry(open_dataset, query, client_waits=True)


class HubRows:
    """Rows of a split: streamed, or downloaded and built as a whole.

    A slice is a shard of `datasets`, or a range of rows.
    """

    def __init__(self, name: str, settings: HubSettings, query: HubQuery, streaming: bool):
        self.name = name
        self.settings = settings
        self._query = query
        self._streaming = streaming
        self.files: list[HubFile] = []

    @property
    def notes(self) -> list[str]:
        """Note about a guessed column."""
        return [self._columns.note] if self._columns.note else []

    def slices(self) -> list[SourceSlice]:
        """Return a slice per shard or range of rows; of streamed rows with a limit a single one."""
        limit, split, dataset = self.settings.limit, self._query.split, self._dataset
        if not self._streaming:
            version = _version_of(dataset)
            runs = ranges(min(len(dataset), limit or len(dataset)), ROWS_PER_SLICE)
        else:
            version = repr((self._query, _files_of(self._query)))
            runs = ranges(dataset.num_shards, 1)
        mark = digest_of(version, repr(self._columns))
        if self._streaming and limit:
            return [SourceSlice(f"{split}, first {limit}", None, mark)]
        return [SourceSlice(range_name(split, run), None, mark, work=run) for run in runs]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a slice."""
        dataset, prefix, limit, first = self._dataset, self._query.split, self.settings.limit, 0
        if not self._streaming:
            run = part.work
            dataset, first = dataset.select(run).select_columns(self._columns.names), run.start
        elif limit is None:
            number = part.work.start
            dataset = dataset.shard(dataset.num_shards, number, contiguous=True)
            prefix = f"{prefix}:{number}"
        rows = (row for table in self._tables(dataset, ROWS_AT_ONCE) for row in rows_of(table))
        for number, row in enumerate(islice(rows, limit), first):
            name = f"{prefix}#{number}"
            if row is None:
                yield Dropped("broken_utf8", name)
            else:
                yield self._columns.document(row, name)

    @property
    def _dataset(self) -> Any:
        return load(self._query, self._streaming)

    @cached_property
    def _columns(self) -> Columns:
        first = next(self._tables(self._dataset, SAMPLE_ROWS), None)
        names, rows = self._dataset.column_names or [], []
        if first is not None:
            names = first.column_names
            rows = [row for row in rows_of(first.select(text_like(first.schema))) if row]
        return choose_columns(self.settings, names, rows, f"'{self._query.name}'")

    def _tables(self, dataset: Any, num_rows: int) -> Iterator[Any]:
        """Yield rows in batches; the library retries each read by itself."""
        try:
            yield from dataset.with_format("arrow").iter(num_rows)
        except Exception as error:
            raise to_user_error(error, self._query) from error


def _files_of(query: HubQuery) -> list[tuple[str, int, int]]:
    """Return names, sizes and times of the files of a local folder, which has no commit."""
    paths = sorted(Path(query.name).rglob("*")) if query.is_local else []
    found = [(str(path), path.stat()) for path in paths if path.is_file()]
    return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in found]


def _version_of(dataset: Any) -> str:
    """Return a version of the content; the client names its files by commit or content."""
    files = [Path(file["filename"]).parts[-4:] for file in dataset.cache_files]
    return repr((files, len(dataset))) if files else dataset._fingerprint
