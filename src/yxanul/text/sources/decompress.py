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
from typing import Any, BinaryIO, NamedTuple

from yxanul.base.errors import missing_package

CHUNK_BYTES = 1 << 18
# Memory limits of the decoders. The highest usual preset of xz needs 65 MiB; the window of zstd is
# up to 2 GiB with --long=31, which large published archives use.
_XZ_MEMORY_BYTES = 1 << 28
_ZSTD_WINDOW_BYTES = 1 << 31

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
    named = (suffix for suffix in _FORMATS if name.lower().endswith(suffix))
    if suffix := compression_of(first) or next(named, None):
        yield from _streams(file, _FORMATS[suffix]())
    else:
        yield from iter(partial(file.read, CHUNK_BYTES), b"")


def compression_of(first: bytes) -> str | None:
    """Return the compression suffix by the magic number; None if it is not compressed."""
    return next((suffix for suffix, magic in _MAGIC.items() if magic.match(first)), None)


class _Format(NamedTuple):
    """How a format is decompressed."""

    start: Callable[[], Any]
    """Starts a stream."""
    error_type: type[Exception]
    fed_bytes: int
    """Fed at once: zlib and zstd lose what a piece gives before an error in it, and in zstd a few
    bytes may decompress to thirty thousand times as many."""
    padding: bytes = b""
    """What may stand between streams."""
    limit: tuple[int, ...] = ()
    """Bytes that a call returns at most, of decoders that keep the rest for the next call."""


def _streams(file: BinaryIO, form: _Format) -> Iterator[bytes]:
    """Yield the bytes of concatenated streams; no chunk is empty."""
    stream, ready, has_more = None, bytearray(), False
    while packed := file.read(form.fed_bytes):
        while packed or has_more:
            if stream is None:
                packed = packed.lstrip(form.padding)
                if not packed:
                    break
                stream = form.start()
            try:
                ready += stream.decompress(packed, *form.limit)
            except form.error_type as error:
                if ready:
                    yield bytes(ready)
                raise CorruptData(str(error)) from error
            if len(ready) >= CHUNK_BYTES:
                yield bytes(ready)
                ready.clear()
            has_more = bool(form.limit) and not (stream.eof or stream.needs_input)
            packed = stream.unused_data if stream.eof else b""
            stream = None if stream.eof else stream
    if ready:
        yield bytes(ready)
    if stream is not None:
        raise EOFError


def _zstd() -> _Format:
    try:
        import zstandard
    except ImportError:
        raise missing_package("zstandard", "data") from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    return _Format(decompressor.decompressobj, zstandard.ZstdError, 1 << 7)


_XZ = partial(lzma.LZMADecompressor, memlimit=_XZ_MEMORY_BYTES)
_FORMATS: dict[str, Callable[[], _Format]] = {
    ".gz": lambda: _Format(partial(zlib.decompressobj, wbits=31), zlib.error, 1 << 7, b"\0"),
    ".zst": _zstd,
    ".bz2": lambda: _Format(bz2.BZ2Decompressor, OSError, CHUNK_BYTES, limit=(CHUNK_BYTES,)),
    ".xz": lambda: _Format(_XZ, lzma.LZMAError, CHUNK_BYTES, b"\0", (CHUNK_BYTES,)),
}
