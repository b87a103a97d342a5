"""Decompression of files in bounded memory, whatever the compression ratio.

The file classes of the standard library and of `zstandard` ignore a truncated end or trailing data;
here both are errors, so that no text is lost silently.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

from yxanul.base.errors import missing_package

CHUNK_BYTES = 1 << 18
# Little is fed at once: zstd may decompress it to thirty thousand times its size.
_FED_BYTES = 1 << 7
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
        yield from _streams(file, *_DECOMPRESS[suffix]())
    else:
        yield from iter(partial(file.read, CHUNK_BYTES), b"")


def compression_of(first: bytes) -> str | None:
    """Return the compression suffix by the magic number; None if it is not compressed."""
    return next((suffix for suffix, magic in _MAGIC.items() if magic.match(first)), None)


def _streams(
    file: BinaryIO, start: Callable[[], Any], error_type: type[Exception], padding: bytes = b""
) -> Iterator[bytes]:
    """Yield the bytes of concatenated streams with `padding` between them."""
    stream, ready = None, bytearray()
    while packed := file.read(_FED_BYTES):
        while packed := packed if stream else packed.lstrip(padding):
            stream = stream or start()
            try:
                ready += stream.decompress(packed)
            except error_type as error:
                yield bytes(ready)
                raise CorruptData(str(error)) from error
            packed = stream.unused_data if stream.eof else b""
            stream = None if stream.eof else stream
        if len(ready) >= CHUNK_BYTES:
            yield bytes(ready)
            ready.clear()
    yield bytes(ready)
    if stream is not None:
        raise EOFError


def _zstd() -> tuple[Callable[[], Any], type[Exception]]:
    try:
        import zstandard
    except ImportError:
        raise missing_package("zstandard", "data") from None
    return zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError


_DECOMPRESS: dict[str, Callable[[], tuple[Any, ...]]] = {
    ".gz": lambda: (partial(zlib.decompressobj, wbits=31), zlib.error, b"\0"),
    ".zst": _zstd,
    ".bz2": lambda: (bz2.BZ2Decompressor, OSError),
    ".xz": lambda: (
        partial(lzma.LZMADecompressor, memlimit=_XZ_MEMORY_BYTES), lzma.LZMAError, b"\0",
    ),
}  # fmt: skip
"""What starts the decompression of a stream, its error, and what may stand between streams."""
