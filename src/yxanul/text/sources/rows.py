"""Readers of files with rows: JSON and CSV."""

from __future__ import annotations

import csv
import io
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice

from yxanul.text.documents import Document, Dropped
from yxanul.text.sources import byte_ranges
from yxanul.text.sources.bytestream import ByteStream, split_blocks
from yxanul.text.sources.columns import Columns, FileSample, Row, infer_columns
from yxanul.text.sources.files import File
from yxanul.text.sources.json_rows import MAX_VALUE_BYTES, is_by_lines, json_rows, rows_by_lines
from yxanul.text.sources.kinds import suffix_of
from yxanul.text.sources.reader import FileSlice, Reader, StreamReader


class RowReader(Reader):
    """Reads rows, with the text in one or several columns."""

    expected: str
    """What a file without rows is expected to hold."""

    @property
    def notes(self) -> list[str]:
        """Note about a guessed column."""
        return [self.columns.note] if self.columns.note else []

    @cached_property
    def columns(self) -> Columns:
        """The columns of the text; another file may lead to another guess."""
        return infer_columns(
            self.settings, self.files, self.sample, self.settings.path, self.expected
        )

    @abstractmethod
    def sample(self, file: File, max_rows: int) -> FileSample:
        """Return the first rows of a file and its columns."""


class JsonReader(RowReader, StreamReader):
    """Reads objects of JSON files."""

    expected = "one JSON object per line, or one array of objects"

    def rows(self, stream: ByteStream, place: str, in_range: bool) -> Iterator[Row | Dropped]:
        """Yield the rows of a file, or of a range of its lines."""
        return (rows_by_lines if in_range else json_rows)(stream, place)

    def records(self, piece: FileSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a file or a range, numbered unless there is an id column."""
        stream = self.stream(piece)
        if isinstance(stream, Dropped):
            yield stream
            return
        document, source, place = self.columns.document, self.name, piece.place
        for number, row in enumerate(self.rows(stream, place, piece.offsets is not None)):
            if isinstance(row, Dropped):
                yield row
            else:
                yield document(row, source, f"{place}#{number}")

    def sample(self, file: File, max_rows: int) -> FileSample:
        """Return the first rows of a file and its columns."""
        records = list(islice(self.rows(ByteStream(file), file.name, False), max_rows))
        rows = [row for row in records if not isinstance(row, Dropped)]
        problem = next((record for record in records if isinstance(record, Dropped)), None)
        return FileSample(list(dict.fromkeys(name for row in rows for name in row)), rows, problem)

    def range_mode(self, file: File) -> str | None:
        """Return "lines" for one object per line; an array must be read whole."""
        return "lines" if is_by_lines(ByteStream(file)) else None

    def boundary_finder(self, mode: str) -> byte_ranges.FindStart:
        """Return the function that finds the first line of a range."""
        return byte_ranges.find_line

    def reading_key(self) -> str:
        """Return a key of the columns."""
        return self.columns.key


class CsvReader(JsonReader):
    """Reads rows of CSV and TSV files with a header line."""

    expected = "a header line with column names, followed by rows"

    def rows(self, stream: ByteStream, place: str, in_range: bool) -> Iterator[Row | Dropped]:
        """Yield the rows of a file."""
        csv.field_size_limit(MAX_VALUE_BYTES)
        try:
            lines = _lines(stream)
            header = next(lines, "")
            delimiter = "\t" if suffix_of(stream.file.name) == ".tsv" else _delimiter(header)
            rows = csv.DictReader(chain([header], lines), delimiter=delimiter, strict=True)
            yield from ({name: cell for name, cell in row.items() if name} for row in rows)
        except csv.Error as error:
            yield Dropped("truncated" if "end of data" in str(error) else "corrupt", place)
        except UnicodeDecodeError:
            yield Dropped("not_utf8", place)
        if stream.problem:
            yield Dropped(stream.problem, place)

    def sample(self, file: File, max_rows: int) -> FileSample:
        """Return the first rows of a file and its columns; numbers are not text."""
        sample = super().sample(file, max_rows)
        rows = [{name: _value(cell) for name, cell in row.items()} for row in sample.rows]
        return sample._replace(rows=rows)

    def range_mode(self, file: File) -> str | None:
        """Return None: a cell may contain newlines, so a file must be read whole."""
        return None


def _delimiter(header: str) -> str:
    """Return the sign between cells: the first of these that the header has."""
    return next((sign for sign in ",;\t|" if sign in header), ",")


def _lines(stream: ByteStream) -> Iterator[str]:
    """Yield lines with their line ends, which are part of the text inside quotes."""
    for block, ends in split_blocks(stream, MAX_VALUE_BYTES):
        if not ends:
            raise csv.Error("a line is too long")
        try:
            text = block.decode() + "\n"
        except UnicodeDecodeError as error:
            sound = block[: block.rfind(b"\n", 0, error.start) + 1]
            yield from io.StringIO(sound.decode(), newline="")
            raise
        yield from io.StringIO(text, newline="")


def _value(cell: object) -> object:
    try:
        return float(str(cell))
    except ValueError:
        return cell or None
