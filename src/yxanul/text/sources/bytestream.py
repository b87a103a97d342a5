"""Bytes of a file, unpacked on the way, in bounded memory; lines of bounded length."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator

from yxanul.text.sources.files import File
from yxanul.text.sources.spans import Span
from yxanul.text.sources.unpack import CHUNK_BYTES, Damaged, unpacked

_OTHER_ENCODINGS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


class ByteStream:
    """The unpacked bytes of a file, or of a span of it, in chunks, without a byte order mark.

    What ends the stream too early is no exception: the chunks stop, and `problem` has the cause.
    A fault of the line to a remote file is an exception, since the file itself may be sound.
    """

    def __init__(self, file: File, span: Span | None = None):
        self.file = file
        self.span = span
        self.problem: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks; none is empty."""
        self.problem = None
        try:
            with self.file.open() as file:
                if self.span is None or self.span.begin == 0:
                    yield from self._from_the_beginning(file)
                else:
                    yield from self.span.chunks(file, CHUNK_BYTES)
        except EOFError:
            self.problem = "truncated"
        except Damaged:
            self.problem = "corrupt"
        except OSError:
            self.problem = "unreadable"

    def _from_the_beginning(self, file) -> Iterator[bytes]:
        if self.span is None:
            chunks = unpacked(file, self.file.name)
        else:
            chunks = self.span.chunks(file, CHUNK_BYTES)
        first = next(chunks, b"")
        if is_other_encoding(first):
            self.problem = "not_utf8"
            return
        if first := first.removeprefix(codecs.BOM_UTF8):
            yield first
        yield from chunks


def is_other_encoding(first: bytes) -> bool:
    """Tell whether a file that begins like this says that it is in UTF-16 or UTF-32."""
    return first.startswith(_OTHER_ENCODINGS)


def split_blocks(chunks: Iterable[bytes], max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    r"""Yield blocks of whole lines, without the last newline, and True.

    A line of more than `max_bytes` comes alone, in pieces cut after a space, or between two
    characters where there is none; all but its last piece come with False. Where the cuts are does
    not depend on how the bytes came in chunks. "\r" before "\n" is still there.
    """
    waiting: list[bytes] = []
    waiting_bytes = 0
    for chunk in chunks:
        waiting.append(chunk)
        waiting_bytes += len(chunk)
        if b"\n" not in chunk and waiting_bytes <= max_bytes:
            continue
        whole, newline, rest = b"".join(waiting).rpartition(b"\n")
        if newline:
            yield from _block(whole, max_bytes)
        *pieces, (rest, _) = _pieces(rest, max_bytes, ends=False)
        yield from pieces
        waiting, waiting_bytes = [rest], len(rest)
    if waiting_bytes:
        yield b"".join(waiting), True


def _block(block: bytes, max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Yield a block whole if none of its lines is too long, else line by line."""
    if len(block) <= max_bytes or max(map(len, block.split(b"\n"))) <= max_bytes:
        yield block, True
        return
    for line in block.split(b"\n"):
        yield from _pieces(line, max_bytes, ends=True)


def split_lines(chunks: Iterable[bytes], max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Yield each line without its newline, and whether it ends there.

    A line of more than `max_bytes` comes in pieces, as `split_blocks` cuts them.
    """
    for block, ends in split_blocks(chunks, max_bytes):
        if not ends:
            yield block, False
            continue
        if b"\r" in block:
            block = (block + b"\n").replace(b"\r\n", b"\n")[:-1]
        for line in block.split(b"\n"):
            yield line, True


def _pieces(line: bytes, max_bytes: int, ends: bool) -> Iterator[tuple[bytes, bool]]:
    """Yield `line` in pieces; only the last one may end the line."""
    start = 0
    while len(line) - start > max_bytes:
        stop = _cut(line, start, start + max_bytes)
        yield line[start:stop], False
        start = stop
    yield line[start:] if start else line, ends


def _cut(line: bytes, start: int, stop: int) -> int:
    """Return where to cut before `stop`: after a space, else where a character begins."""
    space = line.rfind(b" ", start, stop)
    if space >= 0:
        return space + 1
    for at in range(stop, max(start, stop - 4), -1):
        if line[at] & 0xC0 != 0x80:
            return at
    return stop
