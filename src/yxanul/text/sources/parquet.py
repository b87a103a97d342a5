"""Parquet files, read row group by row group."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from yxanul.base.errors import YxanulError
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.columns import Row
from yxanul.text.sources.files import File
from yxanul.text.sources.rows import FileSample, RowReader
from yxanul.text.sources.source import digest_of

if TYPE_CHECKING:
    from pyarrow import DataType, RecordBatch, Schema, Table
    from pyarrow.parquet import ParquetFile

PART_BYTES = 64 << 20
# Few, as a row may hold a whole book.
ROWS_AT_ONCE = 64
BUFFER_BYTES = 1 << 20
# Columns are read in blocks of BUFFER_BYTES; this read-ahead is for the small reads between.
_REMOTE_BLOCK_BYTES = 1 << 16
_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class _RowGroups:
    """Row groups from `first` up to but not including `stop`, at most `rows` rows of them."""

    file: File
    first: int
    stop: int
    rows: int
    size_bytes: int

    @property
    def name(self) -> str:
        return f"{self.file.name}:{self.first}-{self.stop}:{self.rows}"


class ParquetReader(RowReader):
    """Reads rows of parquet files."""

    expected = "parquet files with rows"

    def slices(self) -> list[SourceSlice]:
        """Return a slice per range of row groups, and one per file that cannot be opened."""
        return [
            SourceSlice(
                run.name,
                run.size_bytes,
                self.fingerprint([run.file]),
                work=(run,),
                columns=self.columns,
            )
            for run in self._limited()
        ]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the slice's row groups."""
        (run,) = part.work
        with opened(run.file) as parquet:
            if isinstance(parquet, str):
                yield Dropped(parquet, run.file.name)
            elif self._has_text(parquet):
                yield from self._documents(parquet, run)
            else:
                yield Dropped("missing_column", run.file.name)

    def fingerprint(self, files: Sequence[File]) -> str:
        """Return a fingerprint of a file and its columns."""
        return digest_of(files[0].fingerprint, self.columns.key)

    def _has_text(self, parquet: ParquetFile) -> bool:
        return set(self.columns.text_names) <= set(parquet.schema_arrow.names)

    def _documents(self, parquet: ParquetFile, run: _RowGroups) -> Iterator[Document | Dropped]:
        import pyarrow as pa

        available = set(parquet.schema_arrow.names)
        names = [name for name in self.columns.names if name in available]
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(run.stop)]
        start = sum(sizes[: run.first])
        end = start + run.rows
        for group in range(run.first, run.stop):
            numbers = range(start, min(start + sizes[group], end))
            batches = _batches(parquet, group, names, ROWS_AT_ONCE)
            rows = (row for batch in batches for row in rows_of(batch))
            try:
                for number, row in zip(numbers, rows, strict=False):
                    name = f"{run.file.name}#{number}"
                    if row is None:
                        yield Dropped("broken_utf8", name)
                    else:
                        yield self.columns.document(row, name)
            except (OSError, pa.ArrowException):
                yield Dropped("corrupt", f"{run.file.name}, row group {group}")
            start += sizes[group]

    def _limited(self) -> Iterator[_RowGroups]:
        """Yield the row groups of each slice, with the rows left to it by the limit."""
        left = self.settings.limit
        for run in (run for file in self.files for run in self._runs_of(file)):
            if left is None:
                yield run
                continue
            rows = min(left, run.rows)
            yield replace(run, rows=rows)
            left -= max(rows, 1)  # an unreadable file counts as a row, as in the other readers
            if left <= 0:  # do not open the remaining files
                return

    def _runs_of(self, file: File) -> list[_RowGroups]:
        runs: list[_RowGroups] = []
        with opened(file) as parquet:
            if isinstance(parquet, str) or not self._has_text(parquet):
                return [_RowGroups(file, 0, 0, 0, file.size_bytes or 0)]
            needed = set(self.columns.names)
            for group in range(parquet.metadata.num_row_groups):
                chunk = parquet.metadata.row_group(group)
                columns = [chunk.column(number) for number in range(chunk.num_columns)]
                used = [c for c in columns if c.path_in_schema.split(".")[0] in needed]
                rows = chunk.num_rows
                size_bytes = sum(column.total_uncompressed_size for column in used)
                last = runs[-1] if runs else None
                if last and last.size_bytes + size_bytes <= PART_BYTES:
                    rows, size_bytes = last.rows + rows, last.size_bytes + size_bytes
                    runs[-1] = _RowGroups(file, last.first, group + 1, rows, size_bytes)
                else:
                    runs.append(_RowGroups(file, group, group + 1, rows, size_bytes))
        return runs

    def sample(self, file: File, max_rows: int) -> FileSample:
        """Return the columns of a file, and the first rows of its first readable row group."""
        import pyarrow as pa

        with opened(file) as parquet:
            if isinstance(parquet, str):
                return FileSample([], [], Dropped(parquet, file.name))
            if not parquet.metadata.num_rows:
                return FileSample([], [])
            names = parquet.schema_arrow.names
            texts = text_like(parquet.schema_arrow)
            for group in range(parquet.metadata.num_row_groups):
                with contextlib.suppress(OSError, pa.ArrowException):
                    for batch in _batches(parquet, group, texts, max_rows):
                        rows = [row for row in rows_of(batch) if row is not None]
                        return FileSample(names, rows)
            return FileSample(names, [], Dropped("corrupt", file.name))


@contextlib.contextmanager
def opened(file: File) -> Iterator[ParquetFile | str]:
    """Context manager: the opened file, or the cause (a str) if it cannot be opened."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        try:
            origin = file.address
            if file.is_remote:
                if not file.has_random_access():
                    raise YxanulError(
                        f"{origin} cannot be read: parquet needs random access, "
                        "but the server sends only whole files",
                        hint="download it first",
                    )
                origin = stack.enter_context(file.open(_REMOTE_BLOCK_BYTES))
            parquet = pq.ParquetFile(origin, pre_buffer=False, buffer_size=BUFFER_BYTES)
            result = stack.enter_context(parquet)
        except (OSError, pa.ArrowException):
            result = _cause(file)
        yield result


def _cause(file: File) -> str:
    """Return the cause why a parquet file cannot be opened."""
    try:
        with file.open(_REMOTE_BLOCK_BYTES) as raw:
            return "truncated" if _MAGIC.startswith(raw.read(len(_MAGIC))) else "corrupt"
    except OSError:
        return "unreadable"


def _batches(
    parquet: ParquetFile, group: int, names: list[str], max_rows: int
) -> Iterator[RecordBatch]:
    return parquet.iter_batches(max_rows, row_groups=[group], columns=names, use_threads=False)


def rows_of(table: Table | RecordBatch) -> Iterator[Row | None]:
    """Yield the rows of an arrow table; None for a row with invalid UTF-8."""
    try:
        yield from table.to_pylist()
        return
    except UnicodeDecodeError:
        pass
    for number in range(table.num_rows):
        try:
            yield table.slice(number, 1).to_pylist()[0]
        except UnicodeDecodeError:
            yield None


def text_like(schema: Schema) -> list[str]:
    """Return the columns that could hold text or a chat, not numbers, images or audio."""
    import pyarrow.types as types

    texts = (types.is_string, types.is_large_string, types.is_string_view)
    texts += (types.is_binary, types.is_large_binary, types.is_binary_view)

    def could(kind: DataType) -> bool:
        if types.is_dictionary(kind):
            return could(kind.value_type)
        if types.is_list(kind) or types.is_large_list(kind):
            return could(kind.value_type) or types.is_struct(kind.value_type)
        return any(is_kind(kind) for is_kind in texts)

    return [field.name for field in schema if could(field.type)]
