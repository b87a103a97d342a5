"""CSV files with a header line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from yxanul.text.documents import Dropped
from yxanul.text.sources.bytestream import ByteStream, split_blocks
from yxanul.text.sources.columns import Row
from yxanul.text.sources.files import File
from yxanul.text.sources.infer_columns import FileSample
from yxanul.text.sources.json_rows import MAX_VALUE_BYTES
from yxanul.text.sources.jsonl import JsonlSource
from yxanul.text.sources.kinds import suffix_of


class CsvSource(JsonlSource):
    """Rows of CSV and TSV files, with the text in one or several columns."""

    suffixes = (".csv", ".tsv")
    expected = "a header line with column names, followed by rows"

    def rows(self, stream: ByteStream, place: str, in_range: bool) -> Iterator[Row | Dropped]:
        """Yield the rows of a file."""
        csv.field_size_limit(MAX_VALUE_BYTES)
        delimiter = "\t" if suffix_of(stream.file.name) == ".tsv" else ","
        try:
            rows = csv.DictReader(_lines(stream), delimiter=delimiter, strict=True)
            yield from ({name: cell for name, cell in row.items() if name} for row in rows)
        except csv.Error as error:
            yield Dropped("truncated" if "end of data" in str(error) else "corrupt", place)
        except UnicodeDecodeError:
            yield Dropped("not_utf8", place)
        if stream.problem:
            yield Dropped(stream.problem, place)

    def sample(self, file: File, max_rows: int) -> FileSample:
        """Return the first rows and their columns; numbers are not text."""
        sample = super().sample(file, max_rows)
        rows = [{name: _value(cell) for name, cell in row.items()} for row in sample.rows]
        return sample._replace(rows=rows)

    def range_mode(self, file: File) -> str | None:
        """Return None: a cell may contain newlines, so a file must be read whole."""
        return None


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
