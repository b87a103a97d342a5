"""Parquet files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

from yxanul.base.errors import YxanulError
from yxanul.text.config import ParquetSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.arrow_rows import ROWS_AT_ONCE, rows_of, text_like
from yxanul.text.sources.columns import Columns, Row
from yxanul.text.sources.files import File, find_files
from yxanul.text.sources.infer_columns import FileSample, infer_columns
from yxanul.text.sources.source import digest_of

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

PART_BYTES = 64 << 20
BUFFER_BYTES = 1 << 20
# A column's bytes come in reads of BUFFER_BYTES; less is read ahead of the small ones.
_REMOTE_BLOCK_BYTES = 1 << 16
_MAGIC = b"PAR1"


@dataclass(frozen=True, slots=True)
class _Range:
    """Row groups from `first` up to but not including `stop`, at most so many rows of them."""

    file: File
    first: int
    stop: int
    rows: int
    size_bytes: int

    @property
    def name(self) -> str:
        return f"{self.file.name}:{self.first}-{self.stop}:{self.rows}"


class ParquetSource:
    """Rows of parquet files; one or several of their columns make the text."""

    synthetic = False

    def __init__(self, name: str, settings: ParquetSettings, files: Sequence[File] | None = None):
        """`files` are read in place of what the path in the settings stands for."""
        self.name = name
        self.settings = settings
        self._given = files

    @property
    def notes(self) -> list[str]:
        """Which column was guessed."""
        return [self._columns.note] if self._columns.note else []

    def parts(self) -> list[SourceSlice]:
        """Runs of row groups; a file that cannot be opened is a part as well."""
        vars(self).pop("_files", None)
        way = self._columns.way
        return [
            SourceSlice(run.name, run.size_bytes, digest_of(run.file.fingerprint, way))
            for run in self._ranges()
        ]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the part's row groups."""
        run = self._range_of(part)
        with opened(run.file) as parquet:
            if isinstance(parquet, str):
                yield Dropped(parquet, run.file.name)
            elif self._has_text(parquet):
                yield from self._documents(parquet, run)
            else:
                yield Dropped("missing_column", run.file.name)

    def _has_text(self, parquet: ParquetFile) -> bool:
        return set(self._columns.text_names) <= set(parquet.schema_arrow.names)

    def _documents(self, parquet: ParquetFile, run: _Range) -> Iterator[Document | Dropped]:
        left = run.rows
        start = sum(parquet.metadata.row_group(g).num_rows for g in range(run.first))
        for group in range(run.first, run.stop):
            taken = min(left, parquet.metadata.row_group(group).num_rows)
            yield from self._group_documents(parquet, run.file, group, range(start, start + taken))
            start += parquet.metadata.row_group(group).num_rows
            left -= taken

    def _group_documents(
        self, parquet: ParquetFile, file: File, group: int, numbers: range
    ) -> Iterator[Document | Dropped]:
        import pyarrow as pa

        there = set(parquet.schema_arrow.names)
        rows = _rows(parquet, group, [name for name in self._columns.names if name in there])
        try:
            for number, row in zip(numbers, rows, strict=False):
                name = f"{file.name}#{number}"
                if row is None:
                    yield Dropped("broken_utf8", name)
                else:
                    yield self._columns.document(row, self.name, name)
        except (OSError, pa.ArrowException):
            yield Dropped("corrupt", f"{file.name}, row group {group}")

    @property
    def files(self) -> list[File]:
        """The files, sorted by name."""
        return self._files

    @cached_property
    def _files(self) -> list[File]:
        given = self._given
        found = find_files(self.settings.path, (".parquet",)) if given is None else given
        return sorted(found, key=lambda file: file.name)

    def _ranges(self) -> list[_Range]:
        """Return the parts, with the rows that the limit leaves to each."""
        left, limited = self.settings.limit, []
        for run in (run for file in self._files for run in self._ranges_of(file)):
            if left is None:
                limited.append(run)
                continue
            rows = min(left, run.rows)
            limited.append(_Range(run.file, run.first, run.stop, rows, run.size_bytes))
            left -= max(rows, 1)
            if left <= 0:  # the files that follow are not even opened
                break
        return limited

    def _ranges_of(self, file: File) -> list[_Range]:
        runs: list[_Range] = []
        with opened(file) as parquet:
            if isinstance(parquet, str) or not self._has_text(parquet):
                return [_Range(file, 0, 0, 0, file.size_bytes or 0)]
            for group in range(parquet.metadata.num_row_groups):
                rows, size_bytes = self._extent(parquet, group)
                last = runs[-1] if runs else None
                if last and last.size_bytes + size_bytes <= PART_BYTES:
                    rows, size_bytes = last.rows + rows, last.size_bytes + size_bytes
                    runs[-1] = _Range(file, last.first, group + 1, rows, size_bytes)
                else:
                    runs.append(_Range(file, group, group + 1, rows, size_bytes))
        return runs

    def _extent(self, parquet: ParquetFile, group: int) -> tuple[int, int]:
        """Return the number of rows, and of bytes in the columns that are read."""
        chunk = parquet.metadata.row_group(group)
        columns = [chunk.column(number) for number in range(chunk.num_columns)]
        needed = set(self._columns.names)
        used = [c for c in columns if c.path_in_schema.split(".")[0] in needed]
        return chunk.num_rows, sum(column.total_uncompressed_size for column in used)

    def _range_of(self, part: SourceSlice) -> _Range:
        match = re.fullmatch(r"(.*):(\d+)-(\d+):(\d+)", part.name, re.DOTALL)
        files = {file.name: file for file in self._files}
        if not match or match[1] not in files:
            raise YxanulError(f"'{part.name}' is gone from {self.settings.path}")
        return _Range(files[match[1]], int(match[2]), int(match[3]), int(match[4]), 0)

    @cached_property
    def _columns(self) -> Columns:
        wanted = "parquet files with rows"
        return infer_columns(self.settings, self._files, _look, self.settings.path, wanted)


@contextmanager
def opened(file: File) -> Iterator[ParquetFile | str]:
    """Open a file while the block runs; in place of a broken one comes the cause."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(
                pq.ParquetFile(_readable(file, stack), pre_buffer=False, buffer_size=BUFFER_BYTES)
            )
        except (OSError, pa.ArrowException):
            found = _cause(file)
        yield found


def _readable(file: File, stack: contextlib.ExitStack) -> str | BinaryIO:
    """Return what pyarrow reads: the path of a local file, or a remote one opened."""
    if not file.is_remote:
        return file.address
    if not file.has_random_access():
        raise YxanulError(
            f"{file.address} cannot be read: parquet is read from the middle, "
            "and the server sends whole files only",
            hint="download it first",
        )
    return stack.enter_context(file.open(_REMOTE_BLOCK_BYTES))


def _cause(file: File) -> str:
    """Return the cause why a file is no parquet that can be opened."""
    try:
        with file.open(_REMOTE_BLOCK_BYTES) as raw:
            return "truncated" if _MAGIC.startswith(raw.read(len(_MAGIC))) else "corrupt"
    except OSError:
        return "unreadable"


def _rows(parquet: ParquetFile, group: int, names: list[str]) -> Iterator[Row | None]:
    batches = parquet.iter_batches(
        ROWS_AT_ONCE, row_groups=[group], columns=names, use_threads=False
    )
    for batch in batches:
        yield from rows_of(batch)


def _look(file: File, most_rows: int) -> FileSample:
    """Return the columns, and the first rows of the first row group that can be read."""
    import pyarrow as pa

    with opened(file) as parquet:
        if isinstance(parquet, str):
            return FileSample([], [], Dropped(parquet, file.name))
        if not parquet.metadata.num_rows:
            return FileSample([], [])
        names = text_like(parquet.schema_arrow)
        for group in range(parquet.metadata.num_row_groups):
            try:
                batches = parquet.iter_batches(
                    most_rows, row_groups=[group], columns=names, use_threads=False
                )
                for batch in batches:
                    rows = [row for row in rows_of(batch) if row is not None]
                    return FileSample(parquet.schema_arrow.names, rows)
            except (OSError, pa.ArrowException):
                continue
        return FileSample(parquet.schema_arrow.names, [], Dropped("corrupt", file.name))
