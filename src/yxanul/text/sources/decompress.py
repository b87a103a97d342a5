"""Unpacking compressed files in bounded memory, however much they unpack to."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from yxanul.base.errors import missing_package

CHUNK_BYTES = 1 << 18
# A piece of zstd can unpack to thirty thousand times its size, all at once.
_ZST_BYTES = 1 << 7
# What a stream may ask for to be unpacked; the strongest of the usual levels asks for 65 MiB.
_XZ_MEMORY_BYTES = 1 << 28

BEGINNING_BYTES = 10
_BEGINNINGS = {
    ".gz": re.compile(rb"\x1f\x8b"),
    ".zst": re.compile(rb"\x28\xb5\x2f\xfd"),
    ".bz2": re.compile(rb"BZh[1-9]1AY&SY"),
    ".xz": re.compile(rb"\xfd7zXZ\x00"),
}
"""How packed files begin, and text does not."""


class CorruptData(Exception):
    """Bytes that cannot be unpacked."""


class _Reopened:
    """An open file of which some bytes were read already: they come again."""

    def __init__(self, first: bytes, file: BinaryIO):
        self._first, self._file = first, file

    def read(self, most: int) -> bytes:
        """Return the next bytes, at most so many."""
        some, self._first = self._first[:most], self._first[most:]
        return some + self._file.read(most - len(some)) if len(some) < most else some


def unpacked(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the bytes of an open file, unpacked as its beginning says, or else its name.

    An EOFError after the last ones tells of a cut, CorruptData of what cannot be unpacked.
    """
    first = file.read(BEGINNING_BYTES)
    again = _Reopened(first, file)
    named = (ending for ending in _WAYS if name.lower().endswith(ending))
    if ending := begins_packed(first) or next(named, None):
        yield from _WAYS[ending](again)
        return
    while chunk := again.read(CHUNK_BYTES):
        yield chunk


def begins_packed(first: bytes) -> str | None:
    """Return how the name of a file should end that begins like this; None if it is not packed."""
    return next((ending for ending, begins in _BEGINNINGS.items() if begins.match(first)), None)


def _gz(file: _Reopened) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=cast(BinaryIO, file), mode="rb") as stream:
            while chunk := stream.read1(CHUNK_BYTES):
                yield chunk
    except (zlib.error, gzip.BadGzipFile) as error:
        raise CorruptData(str(error)) from error


def _zst(file: _Reopened) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise missing_package("zstandard", "data") from None
    frame: Any = None
    ready, ready_bytes = [], 0
    while packed := file.read(_ZST_BYTES):
        while packed:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                chunk = frame.decompress(packed)
            except zstandard.ZstdError as error:
                yield from filter(None, [b"".join(ready)])
                raise CorruptData(str(error)) from error
            ready += [chunk] if chunk else []
            ready_bytes += len(chunk)
            packed = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
        if ready_bytes >= CHUNK_BYTES:
            yield b"".join(ready)
            ready, ready_bytes = [], 0
    yield from filter(None, [b"".join(ready)])
    if frame is not None:
        raise EOFError


def _bz2(file: _Reopened) -> Iterator[bytes]:
    # The bytes of the file itself must not raise the same error as broken ones.
    return _streams(file, bz2.BZ2Decompressor, OSError, padding=b"")


def _xz(file: _Reopened) -> Iterator[bytes]:
    def start() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=_XZ_MEMORY_BYTES)

    return _streams(file, start, lzma.LZMAError, padding=b"\0")


def _streams(
    file: _Reopened, start: Callable[[], Any], damage: type[Exception], padding: bytes
) -> Iterator[bytes]:
    """Yield what one stream after the other holds; zeros may stand between those of xz."""
    stream, packed = None, b""
    while True:
        if not packed and (stream is None or stream.needs_input):
            packed = file.read(CHUNK_BYTES)
            if not packed:
                break
        if stream is None:
            packed = packed.lstrip(padding) if padding else packed
            stream = start() if packed else None
            continue
        try:
            chunk = stream.decompress(packed, CHUNK_BYTES)
        except damage as error:
            raise CorruptData(str(error)) from error
        packed = b""
        if chunk:
            yield chunk
        if stream.eof:
            stream, packed = None, stream.unused_data
    if stream is not None:
        raise EOFError


_WAYS: dict[str, Callable[[_Reopened], Iterator[bytes]]] = {
    ".gz": _gz,
    ".zst": _zst,
    ".bz2": _bz2,
    ".xz": _xz,
}
