"""Byte stream of a file, decompressed in bounded memory, and its lines in bounded length."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

from yxanul.text.sources.byte_ranges import ByteRange
from yxanul.text.sources.decompress import CHUNK_BYTES, CorruptData, decompressed
from yxanul.text.sources.files import File

# UTF-32 first: the byte order mark of UTF-16 is a prefix of that of UTF-32.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Magic numbers of other files: PDF, zip (docx, odt ...), compressed files, images, programs ...
_OTHER_KINDS = (
    b"%PDF-", b"PK\x03\x04", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh91AY&SY", b"\xfd7zXZ",
    b"7z\xbc\xaf",
    b"Rar!", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x7fELF", b"PAR1", b"SQLite format 3\0",
    b"\xd0\xcf\x11\xe0", b"ARROW1",
)  # fmt: skip
_ENOUGH_BYTES = 512


class ByteStream:
    """Decompressed bytes of a file, or of a range of it, in chunks, without a byte order mark.

    UTF-16 and UTF-32 with a byte order mark are converted to UTF-8. A bad file raises nothing: the
    chunks stop early, and `problem` has the cause. A connection fault of a remote file does raise,
    since the file itself may be intact.
    """

    def __init__(self, file: File, byte_range: ByteRange | None = None):
        self.file = file
        self.byte_range = byte_range
        self.problem: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks; none is empty."""
        self.problem = None
        try:
            with self.file.open() as file:
                if self.byte_range is None or self.byte_range.begin == 0:
                    yield from self._from_the_beginning(file)
                else:
                    yield from self.byte_range.chunks(file, CHUNK_BYTES)
        except EOFError:
            self.problem = "truncated"
        except CorruptData:
            self.problem = "corrupt"
        except UnicodeError:
            self.problem = "not_utf8"
        except OSError:
            self.problem = "unreadable"

    def _from_the_beginning(self, file: BinaryIO) -> Iterator[bytes]:
        if self.byte_range is None:
            chunks = decompressed(file, self.file.name)
        else:
            chunks = self.byte_range.chunks(file, CHUNK_BYTES)
        first = next(chunks, b"")
        if encoding := marked_encoding(first):
            decoded = codecs.iterdecode(chain([first], chunks), encoding)
            yield from (text.encode() for text in decoded if text)
            return
        if first.startswith(_OTHER_KINDS):
            self.problem = "not_text_file"
            return
        if _has_zeros(first):
            raise UnicodeError
        if first := first.removeprefix(codecs.BOM_UTF8):
            yield first
        yield from chunks


def marked_encoding(first: bytes) -> str | None:
    """Return the encoding of a byte order mark, if it is not UTF-8."""
    return next((name for mark, name in _BYTE_ORDER_MARKS.items() if first.startswith(mark)), None)


def is_no_text(first: bytes) -> bool:
    """Return whether a file that begins like this is binary."""
    return first.startswith(_OTHER_KINDS) or _has_zeros(first)


def _has_zeros(first: bytes) -> bool:
    """Return whether more than a tenth is zeros: UTF-16 without a mark, or most binary files."""
    return len(first) >= _ENOUGH_BYTES and first.count(0) * 10 > len(first)


def split_blocks(chunks: Iterable[bytes], max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    r"""Yield blocks of whole lines, without the last newline, and True.

    A line of more than `max_bytes` is cut into pieces, after a space or, without one, between two
    characters; all but its last piece come alone and with False. The cuts do not depend on the
    chunks. A "\r" before "\n" is kept.
    """
    waiting: list[bytes] = []
    waiting_bytes = 0
    for chunk in chunks:
        waiting.append(chunk)
        waiting_bytes += len(chunk)
        if b"\n" not in chunk and waiting_bytes <= max_bytes:
            continue
        block, newline, rest = b"".join(waiting).rpartition(b"\n")
        if newline and (len(block) <= max_bytes or max(map(len, block.split(b"\n"))) <= max_bytes):
            yield block, True
        elif newline:
            for line in block.split(b"\n"):
                yield from _pieces(line, max_bytes, ends=True)
        *pieces, (rest, _) = _pieces(rest, max_bytes, ends=False)
        yield from pieces
        waiting, waiting_bytes = [rest], len(rest)
    if waiting_bytes:
        yield b"".join(waiting), True


def split_lines(chunks: Iterable[bytes], max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Yield each line without its newline, and whether it is complete.

    A line of more than `max_bytes` comes in pieces, as in `split_blocks`.
    """
    for block, ends in split_blocks(chunks, max_bytes):
        if not ends:
            yield block, False
            continue
        for line in unix_lines(block).split(b"\n"):
            yield line, True


def unix_lines(block: bytes) -> bytes:
    r"""Replace "\r\n" by "\n" in whole lines, the last of which comes without its "\n"."""
    return (block + b"\n").replace(b"\r\n", b"\n")[:-1] if b"\r" in block else block


def _pieces(line: bytes, max_bytes: int, ends: bool) -> Iterator[tuple[bytes, bool]]:
    """Yield `line` in pieces; only the last one may end the line."""
    start = 0
    while len(line) - start > max_bytes:
        stop = _cut(line, start, start + max_bytes)
        yield line[start:stop], False
        start = stop
    yield line[start:] if start else line, ends


def _cut(line: bytes, start: int, stop: int) -> int:
    """Return where to cut before `stop`: after a space, else at a character boundary."""
    space = line.rfind(b" ", start, stop)
    if space >= 0:
        return space + 1
    starts = (at for at in range(stop, max(start, stop - 4), -1) if line[at] & 0xC0 != 0x80)
    return next(starts, stop)
