"""CSV files: the first row names the columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from yxanul.text.documents import Dropped
from yxanul.text.sources.bytestream import ByteStream
from yxanul.text.sources.columns import Row
from yxanul.text.sources.files import File
from yxanul.text.sources.infer_columns import FileSample
from yxanul.text.sources.json_rows import MAX_VALUE_BYTES
from yxanul.text.sources.jsonl import JsonlSource
from yxanul.text.sources.kinds import suffix_of


class CsvSource(JsonlSource):
    """Rows of CSV and TSV files; one or several of their columns make the text."""

    suffixes = (".csv", ".tsv")
    wanted = "a first line with the names of the columns, and rows below it"

    def rows(self, stream: ByteStream, place: str, in_range: bool) -> Iterator[Row | Dropped]:
        """Yield the rows of a file."""
        csv.field_size_limit(MAX_VALUE_BYTES)
        delimiter = "\t" if suffix_of(stream.file.name) == ".tsv" else ","
        lines = _lines(stream)
        try:
            rows = csv.DictReader(lines, delimiter=delimiter, strict=True)
            yield from ({name: cell for name, cell in row.items() if name} for row in rows)
        except csv.Error as error:
            yield Dropped("truncated" if "end of data" in str(error) else "corrupt", place)
        except UnicodeDecodeError:
            yield Dropped("not_utf8", place)
        if stream.problem:
            yield Dropped(stream.problem, place)

    def look(self, file: File, most_rows: int) -> FileSample:
        """Return the columns of the first rows, and these rows; numbers are no text."""
        looked = super().look(file, most_rows)
        rows = [{name: _value(cell) for name, cell in row.items()} for row in looked.rows]
        return looked._replace(rows=rows)

    def way_of_cutting(self, file: File) -> str | None:
        """A cell may hold lines: a file has to be read from its beginning."""
        return None


def _lines(stream: ByteStream) -> Iterator[str]:
    """Yield lines with their ends: those within quotes belong to the text."""
    buffered = io.BufferedReader(_Raw(stream))
    yield from io.TextIOWrapper(buffered, encoding="utf-8", newline="")


class _Raw(io.RawIOBase):
    def __init__(self, stream: ByteStream) -> None:
        self._chunks, self._left = iter(stream), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self._left = self._left or next(self._chunks, b"")
        taken, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _value(cell: object) -> object:
    try:
        return float(str(cell))
    except ValueError:
        return cell or None
