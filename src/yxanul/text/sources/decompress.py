"""Decompression of files in bounded memory, whatever the compression ratio.

The file classes of the standard library and of `zstandard` ignore a truncated end or trailing data;
here both are errors, so that no text is lost silently.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

from yxanul.base.errors import missing_package

CHUNK_BYTES = 1 << 18
# A zstd block can decompress to thirty thousand times its size at once.
_ZSTD_BYTES = 1 << 7
# Memory limit of the decoder; the highest usual preset needs 65 MiB.
_XZ_MEMORY_BYTES = 1 << 28

MAGIC_BYTES = 10
_MAGIC = {
    ".gz": re.compile(rb"\x1f\x8b"),
    ".zst": re.compile(rb"\x28\xb5\x2f\xfd"),
    ".bz2": re.compile(rb"BZh[1-9]1AY&SY"),
    ".xz": re.compile(rb"\xfd7zXZ\x00"),
}
"""Magic numbers of compressed files, which text cannot begin with."""


class CorruptData(Exception):
    """Bytes that cannot be decompressed."""


def decompressed(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Yield the decompressed bytes of an open file; its magic number or else its name decides.

    Raises EOFError at the end of a truncated file and CorruptData for a corrupt one.
    """
    first = file.read(MAGIC_BYTES)
    file.seek(0)
    named = (suffix for suffix in _DECOMPRESS if name.lower().endswith(suffix))
    if suffix := compression_of(first) or next(named, None):
        yield from _DECOMPRESS[suffix](file)
    else:
        yield from iter(partial(file.read, CHUNK_BYTES), b"")


def compression_of(first: bytes) -> str | None:
    """Return the compression suffix by the magic number; None if it is not compressed."""
    return next((suffix for suffix, magic in _MAGIC.items() if magic.match(first)), None)


def _gzip(file: BinaryIO) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            yield from iter(partial(stream.read1, CHUNK_BYTES), b"")
    except (zlib.error, gzip.BadGzipFile) as error:
        raise CorruptData(str(error)) from error


def _zstd(file: BinaryIO) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise missing_package("zstandard", "data") from None
    frame: Any = None
    ready = bytearray()
    while packed := file.read(_ZSTD_BYTES):
        while packed:
            frame = frame or zstandard.ZstdDecompressor().decompressobj()
            try:
                ready += frame.decompress(packed)
            except zstandard.ZstdError as error:
                if ready:
                    yield bytes(ready)
                raise CorruptData(str(error)) from error
            packed = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
        if len(ready) >= CHUNK_BYTES:
            yield bytes(ready)
            ready.clear()
    if ready:
        yield bytes(ready)
    if frame is not None:
        raise EOFError


def _streams(
    start: Callable[[], Any], error_type: type[Exception], padding: bytes, file: BinaryIO
) -> Iterator[bytes]:
    """Yield the bytes of concatenated streams with `padding` between them."""
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
        except error_type as error:
            raise CorruptData(str(error)) from error
        packed = b""
        if chunk:
            yield chunk
        if stream.eof:
            stream, packed = None, stream.unused_data
    if stream is not None:
        raise EOFError


_DECOMPRESS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    ".gz": _gzip,
    ".zst": _zstd,
    # An OSError of the file itself is raised outside of `decompress`.
    ".bz2": partial(_streams, bz2.BZ2Decompressor, OSError, b""),
    ".xz": partial(
        _streams,
        partial(lzma.LZMADecompressor, memlimit=_XZ_MEMORY_BYTES),
        lzma.LZMAError,
        b"\0",
    ),
}
