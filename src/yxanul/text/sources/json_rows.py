"""The rows of a JSON file in bounded memory: one object a line, or one array of objects."""

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
_BETWEEN_VALUES = re.compile(r"[\s,]*")


def json_rows(stream: ByteStream, name: str) -> Iterator[Row | Dropped]:
    """Yield the rows of a file; `name` is the file's, for the places of what is dropped."""
    if not _begins_array(stream):
        yield from rows_by_lines(stream, name)
        return
    yield from _from_array(stream, name)
    if stream.problem:
        yield Dropped(stream.problem, name)


def is_by_lines(stream: ByteStream) -> bool:
    """Tell whether a file holds one value a line, and can be read at all."""
    return not _begins_array(stream) and not stream.problem


def _begins_array(stream: ByteStream) -> bool:
    return next((text for chunk in stream if (text := chunk.lstrip())), b"").startswith(b"[")


def rows_by_lines(stream: ByteStream, name: str) -> Iterator[Row | Dropped]:
    """Yield the object of each line; the lines may be those of a range of a file."""
    number, skipping = 1, False
    decode = json.JSONDecoder().raw_decode
    for line, ends in split_lines(stream, MAX_VALUE_BYTES):
        if not ends and not skipping:
            yield Dropped("too_long", f"{name}:{number}")
        elif not skipping:
            row = None
            try:
                text = line.decode()
                row, end = decode(text)
                row = row if end == len(text) else None
            except (ValueError, RecursionError):
                pass
            if isinstance(row, dict):
                yield row
            elif line.strip():
                row = _parsed(line, f"{name}:{number}")
                # The last line of a file that was cut short is no mistake of its own.
                if not (stream.problem and isinstance(row, Dropped)):
                    yield row
        skipping = not ends
        number += ends
    if stream.problem:
        yield Dropped(stream.problem, name)


def _parsed(line: bytes, where: str) -> Row | Dropped:
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError:
        return Dropped("broken_utf8", where)
    except (ValueError, RecursionError):
        return Dropped("bad_json", where)
    return row if isinstance(row, dict) else Dropped("bad_json", where)


def _item(value: Any, where: str) -> Row | Dropped:
    """Return an object of an array as it is, and a string as a row with one column."""
    if isinstance(value, str):
        return {"text": value}
    return value if isinstance(value, dict) else Dropped("bad_json", where)


def _from_array(stream: ByteStream, name: str) -> Iterator[Row | Dropped]:
    text, number = _Text(stream), 0
    text.next_sign()
    text.pass_sign()
    while (sign := text.next_sign()) not in ("", "]"):
        where = f"{name}, item {number}"
        try:
            yield _item(text.value(), where)
        except ValueError:
            if not stream.problem:
                yield Dropped(text.cause_of_failure(), where)
            return
        number += 1
    if sign == "]":
        text.pass_sign()
        if text.next_sign():
            yield Dropped("bad_json", f"{name}, what follows the array")
    elif not stream.problem:
        yield Dropped("truncated", name)


class _Text:
    """The text of a stream, read on as it is needed. Broken bytes become lone surrogates."""

    def __init__(self, stream: ByteStream):
        self._chunks = iter(stream)
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._parse = json.JSONDecoder().raw_decode
        self._buffer, self._at = "", 0
        self._at_end = False

    def next_sign(self) -> str:
        """Pass spaces and commas and return the sign that comes next, "" at the end."""
        while True:
            match = _BETWEEN_VALUES.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if not self._read_on():
                return ""

    def pass_sign(self) -> None:
        """Go on behind the sign that comes next."""
        self._at += 1

    def value(self) -> Any:
        """Return the JSON value that begins here; a ValueError if none does."""
        while True:
            try:
                value, self._at = self._parse(self._buffer, self._at)
                return value
            except (ValueError, RecursionError):
                if not self._read_on():
                    raise ValueError("no JSON value") from None

    def cause_of_failure(self) -> str:
        """Return why the last call of `value` found none."""
        if not self._at_end:
            return "too_long"
        return "bad_json" if self._buffer.rstrip().endswith("]") else "truncated"

    def _read_on(self) -> bool:
        """Double what is in the buffer, or read one chunk; False at the end or above the limit."""
        self._buffer, self._at = self._buffer[self._at :], 0
        had = len(self._buffer)
        if self._at_end or had > MAX_VALUE_BYTES:
            return False
        pieces = [self._buffer]
        while not self._at_end and sum(map(len, pieces)) <= 2 * had:
            chunk = next(self._chunks, b"")
            self._at_end = not chunk
            pieces.append(self._decode(chunk, self._at_end))
        self._buffer = "".join(pieces)
        return len(self._buffer) > had
