"""Spans of one file that several workers may read, each without the others.

A file is cut at multiples of a length, and each cut moves on to the next place where a document
begins. Where that is depends on the bytes behind the cut alone, so both neighbours agree on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

RANGE_BYTES = 32 << 20
"""Files of more bytes than this are read in several parts."""

MAX_LINE_BYTES = 1 << 20
"""A line of plain text that is longer comes in pieces."""

# So far behind a cut a blank line is looked for before the end of a line must do.
_PARAGRAPH_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_BLANK_LINE = re.compile(rb"\n[ \t\r\f\v]*\n")

Find: TypeAlias = Callable[[BinaryIO, int, int], int | None]
"""Says of an open file: where between two places does the first document begin, if one does."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `begin` up to but not including `end` (None: up to the end of the file)."""

    begin: int
    end: int | None = None

    def chunks(self, file: BinaryIO, chunk_bytes: int) -> Iterator[bytes]:
        """Yield the bytes of the span in chunks; none is empty."""
        if self.begin:
            file.seek(self.begin)
        at = self.begin
        while self.end is None or at < self.end:
            wanted = chunk_bytes if self.end is None else min(chunk_bytes, self.end - at)
            chunk = file.read(wanted)
            if not chunk:
                return
            at += len(chunk)
            yield chunk


def span_of(file: BinaryIO, numbers: range, size_bytes: int, find: Find) -> ByteRange | None:
    """Return the span of the documents that begin among the bytes `numbers`; None if none does.

    The range before must have been cut with the same length, as must all behind it.
    """
    begin = 0 if numbers.start == 0 else find(file, numbers.start, numbers.stop)
    if begin is None:
        return None
    length = len(numbers)
    for start in range(numbers.stop, size_bytes, length):
        end = find(file, start, min(start + length, size_bytes))
        if end is not None:
            return ByteRange(begin, end)
    return ByteRange(begin)


def find_line(file: BinaryIO, start: int, stop: int) -> int | None:
    """Return where the first line begins at or after `start` and before `stop`."""
    for at, chunk in _chunks_between(file, start - 1, stop - 1):
        found = chunk.find(b"\n")
        if found >= 0:
            return at + found + 1
    return None


def find_paragraph(file: BinaryIO, start: int, stop: int) -> int | None:
    """Return where the first line behind a blank one begins, or the first line if that is far."""
    file.seek(start - 1)
    near = file.read(min(_PARAGRAPH_BYTES, stop - start))
    if match := _BLANK_LINE.search(near):
        return start - 1 + match.end()
    return find_line(file, start, stop)


def finder_of_separators(separator: str) -> Find:
    """Return what finds the first line that begins with `separator`, or holds nothing else."""
    sign = separator.encode()

    def find(file: BinaryIO, start: int, stop: int) -> int | None:
        at = find_line(file, start, stop)
        if at is None:
            return None
        file.seek(at)
        begins = True
        while at < stop and (line := file.readline(MAX_LINE_BYTES + 1)):
            ends = line.endswith(b"\n") or len(line) <= MAX_LINE_BYTES
            if begins and ends and sign in line and _is_cut(line, separator):
                return at
            begins = line.endswith(b"\n")
            at += len(line)
        return None

    return find


def _is_cut(line: bytes, separator: str) -> bool:
    """Tell whether nothing of `line` belongs to the document before it, not even its faults."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return False
    return text.startswith(separator) or text.strip() == separator


def _chunks_between(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
    file.seek(start)
    at = start
    while at < stop and (chunk := file.read(min(_CHUNK_BYTES, stop - at))):
        yield at, chunk
        at += len(chunk)
