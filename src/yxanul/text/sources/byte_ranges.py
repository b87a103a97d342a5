"""Byte ranges of a file, for reading it in several workers independently.

A file is cut at multiples of a length, and each cut is moved to the start of the next document.
That depends only on the bytes after the cut, so both neighbours agree on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

RANGE_BYTES = 32 << 20
"""Files of more bytes than this are read in several slices."""

MAX_LINE_BYTES = 1 << 20
"""A longer line of plain text is read in pieces."""

# Distance after a cut in which a blank line is searched for; beyond it, any line end will do.
_PARAGRAPH_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_BLANK_LINE = re.compile(rb"\n[ \t\r\f\v]*\n")

FindStart: TypeAlias = Callable[[BinaryIO, int, int], int | None]
"""Finds the start of the first document of an open file between two offsets; None if none."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `begin` up to but not including `end` (None: up to the end of the file)."""

    begin: int
    end: int | None = None

    def chunks(self, file: BinaryIO, chunk_bytes: int) -> Iterator[bytes]:
        """Yield the bytes of the range in chunks; none is empty."""
        at = file.seek(self.begin)
        while self.end is None or at < self.end:
            chunk = file.read(chunk_bytes if self.end is None else min(chunk_bytes, self.end - at))
            if not chunk:
                return
            at += len(chunk)
            yield chunk


def aligned_range(
    file: BinaryIO, offsets: range, size_bytes: int, find: FindStart
) -> ByteRange | None:
    """Return the range of the documents that begin within `offsets`; None if none does.

    All ranges of the file must have the same length.
    """
    begin = 0 if offsets.start == 0 else find(file, offsets.start, offsets.stop)
    if begin is None:
        return None
    length = len(offsets)
    for start in range(offsets.stop, size_bytes, length):
        end = find(file, start, min(start + length, size_bytes))
        if end is not None:
            return ByteRange(begin, end)
    return ByteRange(begin)


def find_line(file: BinaryIO, start: int, stop: int) -> int | None:
    """Return the offset of the first line that begins from `start` up to `stop`."""
    at = start - 1
    for chunk in ByteRange(at, stop - 1).chunks(file, _CHUNK_BYTES):
        newline = chunk.find(b"\n")
        if newline >= 0:
            return at + newline + 1
        at += len(chunk)
    return None


def find_paragraph(file: BinaryIO, start: int, stop: int) -> int | None:
    """Return the offset of the first line after a blank line, or of any line if that is far."""
    file.seek(start - 1)
    near = file.read(min(_PARAGRAPH_BYTES, stop - start))
    if match := _BLANK_LINE.search(near):
        return start - 1 + match.end()
    return find_line(file, start, stop)


def separator_finder(separator: str) -> FindStart:
    """Return a function that finds the first line that begins with `separator` or is only that."""
    sign = separator.encode()

    def find(file: BinaryIO, start: int, stop: int) -> int | None:
        at = find_line(file, start, stop)
        if at is None:
            return None
        file.seek(at)
        begins = True
        while at < stop and (line := file.readline(MAX_LINE_BYTES + 1)):
            ends = line.endswith(b"\n") or len(line) <= MAX_LINE_BYTES
            if begins and ends and sign in line and _begins_document(line, separator):
                return at
            begins = line.endswith(b"\n")
            at += len(line)
        return None

    return find


def _begins_document(line: bytes, separator: str) -> bool:
    """Return whether no byte of `line`, valid or not, belongs to the previous document."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return False
    return text.startswith(separator) or text.strip() == separator
