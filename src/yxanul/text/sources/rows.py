"""Readers of files with rows: JSON and CSV."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import NamedTuple

from yxanul.base.errors import YxanulError
from yxanul.text.documents import CURES, PROBLEMS, Document, Dropped
from yxanul.text.sources import byte_ranges
from yxanul.text.sources.bytestream import ByteStream, split_blocks, split_lines
from yxanul.text.sources.columns import (
    SAMPLE_ROWS,
    Columns,
    Row,
    choose_columns,
    guess_column,
    named_pieces,
)
from yxanul.text.sources.files import File
from yxanul.text.sources.kinds import suffix_of
from yxanul.text.sources.reader import FileSlice, Reader, StreamReader

MAX_VALUE_BYTES = 1 << 26
SAMPLE_FILES = 8
_MIN_ROWS = 10
_DECODER = json.JSONDecoder()
_VALUE_START = re.compile(r"[^\s,]")
"""Begins what follows white space and commas between values."""


class FileSample(NamedTuple):
    """Columns of a file, some of its rows, and its first problem."""

    names: Sequence[str]
    rows: Sequence[Row]
    problem: Dropped | None = None


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
        """The columns given by the settings, or guessed from sampled files.

        The first file may be metadata about the others, so files are sampled evenly from first to
        last, and more of them until all columns are known. Raises YxanulError for a column that no
        file has and for files without rows.
        """
        settings, names, rows = self.settings, dict[str, None](), list[Row]()
        where, problem = settings.path, None
        pieces = named_pieces(settings)
        given = [*(name for _, name in pieces or ()), getattr(settings, "id_column", None)]
        asked = {*given, *settings.score_columns} - {None}
        last, steps = len(self.files) - 1, SAMPLE_FILES - 1
        spread = [round(last * step / steps) for step in range(steps + 1)]
        min_files = min(len(self.files), SAMPLE_FILES)
        for seen, number in enumerate(dict.fromkeys([*spread, *range(last + 1)]), 1):
            sample = self.sample(self.files[number], max(SAMPLE_ROWS // min_files, _MIN_ROWS))
            names.update(dict.fromkeys(sample.names))
            rows.extend(sample.rows)
            problem = problem or sample.problem
            is_known = pieces is not None or guess_column(list(names), rows) is not None
            if seen >= min_files and is_known and asked <= names.keys():
                break
        if not names or (problem and not rows and pieces is None):
            raise YxanulError(
                f"no row could be read from {where}",
                got=f"{problem.where} {PROBLEMS[problem.cause]}" if problem else "no rows",
                expected=self.expected,
                hint=CURES.get(problem.cause) if problem else None,
            )
        where = self.files[0].name if len(self.files) == 1 else where
        return choose_columns(settings, list(names), rows, where)

    @abstractmethod
    def sample(self, file: File, max_rows: int) -> FileSample:
        """Return the columns of a file and at most `max_rows` of its first rows."""


class JsonReader(RowReader, StreamReader):
    """Reads objects of JSON files."""

    expected = "one JSON object per line, or one array of objects"

    def rows(self, stream: ByteStream, place: str, in_range: bool) -> Iterator[Row | Dropped]:
        """Yield the rows of a file, or of a range of its lines."""
        return (_rows_by_lines if in_range else json_rows)(stream, place)

    def records(self, piece: FileSlice, stream: ByteStream) -> Iterator[Document | Dropped]:
        """Yield the documents of a file or a range, numbered unless there is an id column."""
        document, place = self.columns.document, piece.place
        for number, row in enumerate(self.rows(stream, place, piece.offsets is not None)):
            if isinstance(row, Dropped):
                yield row
            else:
                yield document(row, f"{place}#{number}")

    def sample(self, file: File, max_rows: int) -> FileSample:
        """Return the first rows of a file and its columns."""
        records = list(islice(self.rows(ByteStream(file), file.name, False), max_rows))
        rows = [row for row in records if not isinstance(row, Dropped)]
        problem = next((record for record in records if isinstance(record, Dropped)), None)
        return FileSample(list(dict.fromkeys(name for row in rows for name in row)), rows, problem)

    def range_mode(self, file: File) -> str | None:
        """Return "lines" for one object per line; an array must be read whole."""
        stream = ByteStream(file)
        return None if _begins_array(stream) or stream.problem else "lines"

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
            yield from _csv_rows(stream, place)
        except (csv.Error, OverflowError):
            yield Dropped("corrupt", place)
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


def _csv_rows(stream: ByteStream, place: str) -> Iterator[Row | Dropped]:
    """Yield the rows below the header; after a bad one, reading goes on in the next line."""
    lines = _lines(stream)
    blank, header = next(((n, line) for n, line in enumerate(lines) if line.strip()), (0, ""))
    delimiter = "\t" if suffix_of(stream.file.name) == ".tsv" else _delimiter(header)
    rows = csv.reader(chain([header], lines), delimiter=delimiter, strict=True)
    names = next(rows, [])
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            is_cut = "end of data" in str(error)
            where = place if is_cut else f"{place}:{blank + rows.line_num}"
            yield Dropped("truncated" if is_cut else "bad_csv", where)
            continue
        if any(cells[len(names) :]):
            yield Dropped("bad_csv", f"{place}:{blank + rows.line_num}")
        elif cells:
            yield {name: cell for name, cell in zip(names, cells, strict=False) if name}


def _delimiter(header: str) -> str:
    """Return the sign between cells: the first of these that the header has."""
    return next((sign for sign in ",;\t|" if sign in header), ",")


def _lines(stream: ByteStream) -> Iterator[str]:
    """Yield lines with their line ends, which are part of the text inside quotes."""
    for block, ends in split_blocks(stream, MAX_VALUE_BYTES):
        if not ends:
            raise OverflowError("a line is too long")
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


def json_rows(stream: ByteStream, name: str) -> Iterator[Row | Dropped]:
    """Yield the rows of a file; `name` is used for the positions of dropped rows."""
    if not _begins_array(stream):
        yield from _rows_by_lines(stream, name)
        return
    yield from _rows_of_array(stream, name)
    if stream.problem:
        yield Dropped(stream.problem, name)


def _begins_array(stream: ByteStream) -> bool:
    return next((text for chunk in stream if (text := chunk.lstrip())), b"").startswith(b"[")


def _rows_by_lines(stream: ByteStream, name: str) -> Iterator[Row | Dropped]:
    """Yield the object of each line of a file or a range of it."""
    number, skipping = 1, False
    for line, ends in split_lines(stream, MAX_VALUE_BYTES):
        if not ends and not skipping:
            yield Dropped("too_long", f"{name}:{number}")
        elif not skipping:
            row = _object_in(line)
            if not isinstance(row, str):
                yield row
            # The last line of a truncated file is not reported separately.
            elif line.strip() and not stream.problem:
                yield Dropped(row, f"{name}:{number}")
        skipping = not ends
        number += ends
    if stream.problem:
        yield Dropped(stream.problem, name)


def _object_in(line: bytes) -> Row | str:
    """Return the object of a line, or the cause why it has none."""
    try:
        row = _DECODER.decode(line.decode())
    except UnicodeDecodeError:
        return "broken_utf8"
    except (ValueError, RecursionError):
        return "bad_json"
    return row if isinstance(row, dict) else "bad_json"


def _rows_of_array(stream: ByteStream, name: str) -> Iterator[Row | Dropped]:
    """Yield the items of an array as they are read; invalid bytes become lone surrogates."""
    texts = codecs.iterdecode(stream, "utf-8", "surrogateescape")
    text = next((text for text in texts if text.strip()), "[").lstrip()[1:]
    at = number = 0
    while True:
        start = _VALUE_START.search(text, at)
        at = start.start() if start else len(text)
        if text.startswith("]", at):
            break
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            text, at = text[at:], 0
            is_too_long = len(text) > MAX_VALUE_BYTES
            more = "" if is_too_long else _at_least(len(text) + 1, texts)
            if more:
                text += more
                continue
            if not stream.problem:
                is_whole = text.rstrip().endswith("]")
                cause = "too_long" if is_too_long else "bad_json" if is_whole else "truncated"
                yield Dropped(cause, f"{name}, item {number}" if text else name)
            return
        if isinstance(value, str):  # a row with one column
            value = {"text": value}
        is_row = isinstance(value, dict)
        yield value if is_row else Dropped("bad_json", f"{name}, item {number}")
        number += 1
    if any(map(_VALUE_START.search, chain([text[at + 1 :]], texts))):
        yield Dropped("bad_json", f"{name}, content after the array")


def _at_least(chars: int, texts: Iterator[str]) -> str:
    """Return the next texts, until they have so many characters."""
    taken: list[str] = []
    while chars > 0 and (text := next(texts, "")):
        taken.append(text)
        chars -= len(text)
    return "".join(taken)
