"""Rows of a JSON file in bounded memory: one object per line, or one array of objects."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from yxanul.text.documents import Dropped
from yxanul.text.sources.bytestream import ByteStream, split_lines
from yxanul.text.sources.columns import Row

MAX_VALUE_BYTES = 1 << 26
_DECODER = json.JSONDecoder()
_BETWEEN_VALUES = re.compile(r"[\s,]*")


def json_rows(stream: ByteStream, name: str) -> Iterator[Row | Dropped]:
    """Yield the rows of a file; `name` is used for the positions of dropped rows."""
    if not _begins_array(stream):
        yield from rows_by_lines(stream, name)
        return
    yield from _rows_of_array(_Text(stream), stream, name)
    if stream.problem:
        yield Dropped(stream.problem, name)


def is_by_lines(stream: ByteStream) -> bool:
    """Return whether a file is readable and has one value per line."""
    return not _begins_array(stream) and not stream.problem


def _begins_array(stream: ByteStream) -> bool:
    return next((text for chunk in stream if (text := chunk.lstrip())), b"").startswith(b"[")


def rows_by_lines(stream: ByteStream, name: str) -> Iterator[Row | Dropped]:
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


def _rows_of_array(text: _Text, stream: ByteStream, name: str) -> Iterator[Row | Dropped]:
    number = 0
    text.peek()
    text.skip()
    while (sign := text.peek()) not in ("", "]"):
        where = f"{name}, item {number}"
        try:
            value = text.value()
        except ValueError:
            if not stream.problem:
                yield Dropped(text.failure(), where)
            return
        if isinstance(value, str):  # a row with one column
            value = {"text": value}
        yield value if isinstance(value, dict) else Dropped("bad_json", where)
        number += 1
    if sign == "]":
        text.skip()
        if text.peek():
            yield Dropped("bad_json", f"{name}, content after the array")
    elif not stream.problem:
        yield Dropped("truncated", name)


class _Text:
    """Text of a stream, read on demand. Invalid bytes become lone surrogates."""

    def __init__(self, stream: ByteStream):
        self._chunks = iter(stream)
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._buffer, self._at = "", 0
        self._at_end = False

    def peek(self) -> str:
        """Skip white space and commas and return the next character, "" at the end."""
        while True:
            match = _BETWEEN_VALUES.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._read_more():
                return ""

    def skip(self) -> None:
        """Skip one character."""
        self._at += 1

    def value(self) -> Any:
        """Return the JSON value that begins here; raise ValueError if there is none."""
        while True:
            try:
                value, self._at = _DECODER.raw_decode(self._buffer, self._at)
                return value
            except (ValueError, RecursionError):
                if not self._read_more():
                    raise ValueError("no JSON value") from None

    def failure(self) -> str:
        """Return the cause why the last call of `value` failed."""
        if not self._at_end:
            return "too_long"
        return "bad_json" if self._buffer.rstrip().endswith("]") else "truncated"

    def _read_more(self) -> bool:
        """Double the buffer, or read one chunk; return False at the end or above the limit."""
        self._buffer, self._at = self._buffer[self._at :], 0
        old_length = len(self._buffer)
        if self._at_end or old_length > MAX_VALUE_BYTES:
            return False
        pieces = [self._buffer]
        while not self._at_end and sum(map(len, pieces)) <= 2 * old_length:
            chunk = next(self._chunks, b"")
            self._at_end = not chunk
            pieces.append(self._decode(chunk, self._at_end))
        self._buffer = "".join(pieces)
        return len(self._buffer) > old_length
