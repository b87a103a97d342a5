"""Reading a file behind an address: in blocks, and on from where a fault of the line stopped it."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any, BinaryIO

from yxanul.base.errors import YxanulError
from yxanul.text.sources import remote

BUFFER_BYTES = 1 << 22
_SKIP_BYTES = 1 << 20


class RemoteFile(io.RawIOBase):
    """The bytes behind an address. Give it to `io.BufferedReader`, which asks in blocks.

    A read that fails is tried again from the same place; a fault that stays is a YxanulError.
    """

    def __init__(self, entry: remote.Entry, sleep: Callable[[float], None] = time.sleep):
        self._entry = entry
        self._sleep = sleep
        self._system, self._name = remote.file_system(entry.address)
        self._at = 0
        self._file: Any = None
        # A server may turn out not to answer with ranges: then it is read in one go.
        self.in_one_go = entry.size_bytes is None

    def readable(self) -> bool:
        """Say yes: this is what it is for."""
        return True

    def seekable(self) -> bool:
        """Say yes: any place may be read next."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to another place; nothing is asked of the other side yet."""
        if whence == io.SEEK_CUR:
            offset += self._at
        elif whence == io.SEEK_END:
            if self._entry.size_bytes is None:
                raise io.UnsupportedOperation("the size is not known")
            offset += self._entry.size_bytes
        self._at = max(offset, 0)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read at most so many bytes; 0 is the end of the file and nothing else."""
        size = self._entry.size_bytes
        wanted = len(buffer) if size is None else min(len(buffer), size - self._at)
        if wanted <= 0:
            return 0
        data = remote.patiently(
            lambda number: self._attempt(wanted, number), self._entry.address, self._sleep
        )
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        """Let go of what is behind the address."""
        self._let_go()
        super().close()

    def _attempt(self, wanted: int, number: int) -> bytes:
        """Ask for less at each further try: a line that breaks may carry a small answer."""
        try:
            if number:
                self._check_unchanged()
            return self._read(max(wanted >> (2 * number), 1))
        except BaseException:
            self._let_go()
            raise

    def _read(self, wanted: int) -> bytes:
        if not self.in_one_go:
            try:
                return self._full(self._at_place(), wanted)
            except ValueError as error:
                if "range" not in str(error):
                    raise
                self._let_go()
                self.in_one_go = True
        return self._full(self._at_place_in_one_go(), wanted)

    def _full(self, file: Any, wanted: int) -> bytes:
        data = file.read(wanted)
        if not data and self._entry.size_bytes is not None:
            raise ConnectionError(f"the answer ends at byte {self._at}")
        return data

    def _at_place(self) -> Any:
        if self._file is None:
            self._file = self._open(BUFFER_BYTES)
        self._file.seek(self._at)
        return self._file

    def _at_place_in_one_go(self) -> Any:
        if self._file is not None and self._file.tell() > self._at:
            self._let_go()
        if self._file is None:
            self._file = self._open(0)
        while (ahead := self._at - self._file.tell()) > 0:
            self._full(self._file, min(ahead, _SKIP_BYTES))
        return self._file

    def _open(self, block_bytes: int) -> Any:
        options: dict[str, Any] = {"block_size": block_bytes} if block_bytes else {}
        if remote.protocol_of(self._entry.address) in ("http", "https"):
            options = {"block_size": block_bytes, "size": self._entry.size_bytes}
        if block_bytes:
            options["cache_type"] = "none"
        return self._system.open(self._name, "rb", **options)

    def _check_unchanged(self) -> None:
        """Going on in the middle of another content would join two halves."""
        self._system.invalidate_cache()
        now = remote.entry_of(self._system, self._name).fingerprint
        if now != self._entry.fingerprint:
            raise YxanulError(
                f"{self._entry.address} was changed while it was read", hint="start again"
            )

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            # What cannot be closed has failed before, and that was told.
            with contextlib.suppress(Exception):
                file.close()


def open_remote(entry: remote.Entry, buffer_bytes: int = BUFFER_BYTES) -> BinaryIO:
    """Open a file behind an address for reading from any place."""
    return io.BufferedReader(RemoteFile(entry), buffer_bytes)


def answers_with_ranges(entry: remote.Entry) -> bool:
    """Tell whether the file can be read from the middle without all that stands before."""
    if entry.size_bytes is None:
        return False
    if remote.protocol_of(entry.address) not in ("http", "https"):
        return True
    with RemoteFile(entry) as file:
        file.seek(entry.size_bytes // 2)
        file.readinto(bytearray(1))
        return not file.in_one_go
