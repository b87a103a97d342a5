"""Parquet files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from yxanul.base.errors import YxanulError
from yxanul.text.config import ParquetSettings
from yxanul.text.documents import Document, Dropped, Part
from yxanul.text.sources.arrow_rows import ROWS_AT_ONCE, rows_of, text_like
from yxanul.text.sources.columns import SAMPLE_ROWS, Columns, Row, choose_columns
from yxanul.text.sources.files import File, digest_of, find_files

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

PART_BYTES = 64 << 20
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

    def __init__(self, name: str, settings: ParquetSettings):
        self.name = name
        self.settings = settings

    @property
    def notes(self) -> list[str]:
        """Which column was guessed."""
        return [self._columns.note] if self._columns.note else []

    def parts(self) -> list[Part]:
        """Runs of row groups; a file that cannot be opened is a part as well."""
        way = repr((self._columns.pieces, self._columns.id_column))
        return [
            Part(run.name, run.size_bytes, digest_of(run.file.fingerprint, way))
            for run in self._ranges()
        ]

    def read(self, part: Part) -> Iterator[Document | Dropped]:
        """Yield the documents of the part's row groups."""
        run = self._range_of(part)
        opened = _open(run.file.path)
        if isinstance(opened, str):
            yield Dropped(opened, run.file.name)
            return
        with opened as parquet:
            if set(self._columns.names) <= set(parquet.schema_arrow.names):
                yield from self._documents(parquet, run)
            else:
                yield Dropped("missing_column", run.file.name)

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

        rows = _rows(parquet, group, self._columns.names)
        try:
            for number, row in zip(numbers, rows, strict=False):
                name = f"{file.name}#{number}"
                if row is None:
                    yield Dropped("broken_utf8", name)
                else:
                    yield self._columns.document(row, self.name, name)
        except (OSError, pa.ArrowException):
            yield Dropped("corrupt", f"{file.name}, row group {group}")

    def _files(self) -> list[File]:
        return find_files(self.settings.path, (".parquet",))

    def _ranges(self) -> list[_Range]:
        """Return the parts, with the rows that the limit leaves to each."""
        left, limited = self.settings.limit, []
        for run in (run for file in self._files() for run in self._ranges_of(file)):
            if left is None:
                limited.append(run)
            elif left > 0:
                rows = min(left, run.rows)
                left -= max(rows, 1)
                limited.append(_Range(run.file, run.first, run.stop, rows, run.size_bytes))
        return limited

    def _ranges_of(self, file: File) -> list[_Range]:
        opened = _open(file.path)
        if isinstance(opened, str):
            return [_Range(file, 0, 0, 0, file.size_bytes)]
        runs: list[_Range] = []
        with opened as parquet:
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

    def _range_of(self, part: Part) -> _Range:
        match = re.fullmatch(r"(.*):(\d+)-(\d+):(\d+)", part.name, re.DOTALL)
        files = {file.name: file for file in self._files()}
        if not match or match[1] not in files:
            raise YxanulError(f"'{part.name}' is gone from {self.settings.path}")
        return _Range(files[match[1]], int(match[2]), int(match[3]), int(match[4]), 0)

    @cached_property
    def _columns(self) -> Columns:
        """The columns, from the first file that can be opened and has rows."""
        settings = self.settings
        for file in self._files():
            opened = _open(file.path)
            if isinstance(opened, str) or not opened.metadata.num_rows:
                continue
            with opened as parquet:
                names = parquet.schema_arrow.names
                sample = lambda p=parquet: _sample(p)  # noqa: E731
                return choose_columns(settings, names, sample, file.name, settings.id_column)
        raise YxanulError(
            f"no row could be read from {settings.path}", wanted="parquet files with rows"
        )


def _open(path: Path) -> ParquetFile | str:
    """Open a file, or return the cause why not."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except (OSError, pa.ArrowException):
        pass
    try:
        with open(path, "rb") as file:
            return "truncated" if file.read(len(_MAGIC)) == _MAGIC else "corrupt"
    except OSError:
        return "unreadable"


def _rows(parquet: ParquetFile, group: int, names: list[str]) -> Iterator[Row | None]:
    batches = parquet.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=names)
    for batch in batches:
        yield from rows_of(batch)


def _sample(parquet: ParquetFile) -> list[Row]:
    """Return the first rows of the first row group that can be read."""
    import pyarrow as pa

    names = text_like(parquet.schema_arrow)
    for group in range(parquet.metadata.num_row_groups):
        try:
            for batch in parquet.iter_batches(SAMPLE_ROWS, row_groups=[group], columns=names):
                return [row for row in rows_of(batch) if row is not None]
        except (OSError, pa.ArrowException):
            continue
    return []
