"""Bytes of a file, unpacked on the way, in bounded memory; lines of bounded length."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from yxanul.base.errors import missing_package

CHUNK_BYTES = 1 << 18
# A piece of zstd can unpack to thirty thousand times its size, all at once.
PACKED_CHUNK_BYTES = 1 << 8
_OTHER_ENCODINGS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


class ByteStream:
    """The unpacked bytes of a file in chunks, without a byte order mark.

    What ends the stream too early is no exception: the chunks stop, and `problem` has the cause.
    """

    def __init__(self, path: Path):
        self.path = path
        self.problem: str | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks; none is empty."""
        self.problem = None
        try:
            chunks = _unpacked(self.path)
            first = next(chunks, b"")
            if first.startswith(_OTHER_ENCODINGS):
                self.problem = "not_utf8"
                return
            if first := first.removeprefix(codecs.BOM_UTF8):
                yield first
            yield from chunks
        except EOFError:
            self.problem = "truncated"
        except (zlib.error, gzip.BadGzipFile, _Damaged):
            self.problem = "corrupt"
        except OSError:
            self.problem = "unreadable"


class _Damaged(Exception):
    """A zstd stream that cannot be unpacked."""


def _unpacked(path: Path) -> Iterator[bytes]:
    """Yield the bytes of `path`; an EOFError after the last ones tells of a cut."""
    name = path.name.lower()
    if name.endswith(".gz"):
        with gzip.open(path) as file:
            while chunk := file.read1(CHUNK_BYTES):
                yield chunk
    elif name.endswith(".zst"):
        yield from _unpacked_zst(path)
    else:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def _unpacked_zst(path: Path) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise missing_package("zstandard", "data") from None
    frame: Any = None
    with open(path, "rb") as file:
        while packed := file.read(PACKED_CHUNK_BYTES):
            while packed:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                try:
                    unpacked = frame.decompress(packed)
                except zstandard.ZstdError as error:
                    raise _Damaged(str(error)) from error
                if unpacked:
                    yield unpacked
                packed = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError


def split_lines(chunks: Iterable[bytes], max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Yield each line without its newline, and whether it ends there.

    A line of more than `max_bytes` comes in pieces cut after a space, or between two characters
    where there is none. Where the cuts are does not depend on how the bytes came in chunks.
    """
    waiting: list[bytes] = []
    waiting_bytes = 0
    for chunk in chunks:
        waiting.append(chunk)
        waiting_bytes += len(chunk)
        if b"\n" not in chunk and waiting_bytes <= max_bytes:
            continue
        *whole, rest = b"".join(waiting).split(b"\n")
        for line in whole:
            yield from _pieces(line, max_bytes, ends=True)
        *pieces, (rest, _) = _pieces(rest, max_bytes, ends=False)
        yield from pieces
        waiting, waiting_bytes = [rest], len(rest)
    if waiting_bytes:
        yield b"".join(waiting).removesuffix(b"\r"), True


def _pieces(line: bytes, max_bytes: int, ends: bool) -> Iterator[tuple[bytes, bool]]:
    """Yield `line` in pieces; only the last one may end the line."""
    start = 0
    while len(line) - start > max_bytes:
        stop = _cut(line, start, start + max_bytes)
        yield line[start:stop], False
        start = stop
    rest = line[start:] if start else line
    yield rest.removesuffix(b"\r") if ends else rest, ends


def _cut(line: bytes, start: int, stop: int) -> int:
    """Return where to cut before `stop`: after a space, else where a character begins."""
    space = line.rfind(b" ", start, stop)
    if space >= 0:
        return space + 1
    for at in range(stop, max(start, stop - 4), -1):
        if line[at] & 0xC0 != 0x80:
            return at
    return stop
