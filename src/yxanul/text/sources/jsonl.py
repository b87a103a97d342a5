"""JSON files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice

from yxanul.text.config import JsonlSettings
from yxanul.text.documents import Document, Dropped
from yxanul.text.sources import byte_ranges
from yxanul.text.sources.bytestream import ByteStream
from yxanul.text.sources.columns import Columns, Row
from yxanul.text.sources.file_source import FileSlice, FileSource
from yxanul.text.sources.files import File
from yxanul.text.sources.infer_columns import FileSample, infer_columns
from yxanul.text.sources.json_rows import is_by_lines, json_rows, rows_by_lines


class JsonlSource(FileSource):
    """Objects of JSON files, with the text in one or several columns."""

    settings: JsonlSettings
    suffixes: Sequence[str] = (".jsonl", ".ndjson", ".json")
    expected = "one JSON object per line, or one array of objects"

    @property
    def notes(self) -> list[str]:
        """Note about a guessed column."""
        return [self._columns.note] if self._columns.note else []

    def records(self, piece: FileSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a file or a range, numbered unless there is an id column."""
        stream = self.stream(piece)
        if isinstance(stream, Dropped):
            yield stream
            return
        document, source, place = self._columns.document, self.name, piece.place
        for number, row in enumerate(self.rows(stream, place, piece.offsets is not None)):
            if isinstance(row, Dropped):
                yield row
            else:
                yield document(row, source, f"{place}#{number}")

    def rows(self, stream: ByteStream, place: str, in_range: bool) -> Iterator[Row | Dropped]:
        """Yield the rows of a file, or of a range of its lines."""
        return (rows_by_lines if in_range else json_rows)(stream, place)

    def sample(self, file: File, max_rows: int) -> FileSample:
        """Return the first rows and their columns."""
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
        """Return a key of the columns: another file may lead to another guess."""
        return self._columns.key

    @cached_property
    def _columns(self) -> Columns:
        place = self.settings.path
        return infer_columns(self.settings, self.files, self.sample, place, self.expected)
