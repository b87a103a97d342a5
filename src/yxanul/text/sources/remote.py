"""Remote files, at fsspec addresses (s3://, gs://, https://, hf://, memory:// ...)."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.text.sources.retry import Target, retry, to_user_error

CONNECT_SECONDS = 30.0
SILENCE_SECONDS = 60.0
BUFFER_BYTES = 1 << 22
_SKIP_BYTES = 1 << 20
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_WEB = ("http", "https")
# Keys of file info that change with the content, most reliable first.
_VERSION_KEYS = (
    "ETag", "etag", "blob_id", "Content-MD5", "md5Hash", "content_md5", "crc32c", "Digest",
    "version_id", "Last-Modified", "LastModified", "last_modified", "updated", "mtime", "created",
)  # fmt: skip


def is_remote(path: str) -> bool:
    """Return whether `path` is a remote address rather than a local path."""
    return bool(_ADDRESS.match(path)) and protocol_of(path) not in ("file", "local")


def protocol_of(address: str) -> str:
    """Return the protocol of an address."""
    return address.partition("://")[0].lower()


def is_web(address: str) -> bool:
    """Return whether the address is on a web server, which has pages of links for folders."""
    return protocol_of(address) in _WEB


def file_system(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in that system."""
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(address, **(_web_options() if is_web(address) else {}))
    except (ImportError, ValueError) as error:
        raise to_user_error(error, address) from None


def _web_options() -> dict[str, Any]:
    import aiohttp

    # aiohttp's default limits the total time of a response; here only silence times out.
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
    )
    # Sizes and ranges must be those of the file, not of a compressed response.
    return {"client_kwargs": {"timeout": timeout, "headers": {"Accept-Encoding": "identity"}}}


def size_and_fingerprint(info: dict[str, Any]) -> tuple[int | None, str]:
    """Return the size of a file, if known, and a fingerprint that changes with its content."""
    version = next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), "")
    return info.get("size"), f"{info.get('size')}-{version}"


class RetriedFile(io.RawIOBase):
    """Raw stream of a remote file; wrap it in `io.BufferedReader` to read in blocks.

    A failed read is retried from the same offset; raises YxanulError when retries are exhausted.
    """

    def __init__(self, target: Target, size_bytes: int | None):
        """Errors name `target`."""
        self._target, self._size_bytes = target, size_bytes
        self._at = 0

    def fetch(self, length: int, attempt: int) -> bytes:
        """Return at most `length` bytes from the current offset on; empty only at the end.

        `attempt` counts from 0.
        """
        raise NotImplementedError

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to another offset, without a request."""
        if whence == io.SEEK_END and self._size_bytes is None:
            raise io.UnsupportedOperation("the size is not known")
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes or 0}
        self._at = max(starts[whence] + offset, 0)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill some of the buffer; 0 always means the end of the file."""
        size = self._size_bytes
        length = len(buffer) if size is None else min(len(buffer), size - self._at)
        if length <= 0:
            return 0
        attempts = itertools.count()

        def fetch_less() -> bytes:
            # A bad connection may still carry a short response.
            attempt = next(attempts)
            return self.fetch(max(length >> (2 * attempt), 1), attempt)

        data = retry(fetch_less, self._target)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class RemoteFile(RetriedFile):
    """Raw stream of the file at an fsspec address."""

    def __init__(self, address: str, size_bytes: int | None, fingerprint: str):
        super().__init__(address, size_bytes)
        self._address, self._fingerprint = address, fingerprint
        self._system, self._path = file_system(address)
        self._file: Any = None
        self.is_sequential = size_bytes is None
        """Whether the server sends only whole files."""

    def close(self) -> None:
        """Close the connection as well."""
        self._disconnect()
        super().close()

    def fetch(self, length: int, attempt: int) -> bytes:
        """Return some bytes; raise YxanulError if the file has changed since it was listed."""
        try:
            if attempt:
                self._check_unchanged()
            try:
                return self._read(length)
            except ValueError as error:
                if self.is_sequential or "range" not in str(error):
                    raise
            self._disconnect()
            self.is_sequential = True
            return self._read(length)
        except BaseException:
            self._disconnect()
            raise

    def _read(self, length: int) -> bytes:
        if self._file is None or (self.is_sequential and self._file.tell() > self._at):
            self._disconnect()
            self._file = self._open()
        if not self.is_sequential:
            self._file.seek(self._at)
        while (ahead := self._at - self._file.tell()) > 0:
            if not self._file.read(min(ahead, _SKIP_BYTES)):
                raise ConnectionError(f"the response ends before byte {self._at}")
        data = self._file.read(length)
        if not data and self._size_bytes is not None:
            raise ConnectionError(f"the response ends at byte {self._at}")
        if len(data) > length:
            raise ValueError("the server sends more than the requested range")
        return data

    def _open(self) -> Any:
        options: dict[str, Any] = {}
        if not self.is_sequential:
            options = {"block_size": BUFFER_BYTES, "cache_type": "none"}
        elif is_web(self._address):
            options = {"block_size": 0}
        if protocol_of(self._address) in (*_WEB, "hf"):  # these would request the size again
            options["size"] = self._size_bytes
        return self._system.open(self._path, "rb", **options)

    def _check_unchanged(self) -> None:
        self._system.invalidate_cache()
        if size_and_fingerprint(self._system.info(self._path))[1] != self._fingerprint:
            raise YxanulError(f"{self._address} was changed while it was read", hint="start again")

    def _disconnect(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            # If closing fails, an earlier failure has been reported already.
            with contextlib.suppress(Exception):
                file.close()
