"""The files of a data set of the hub: downloaded into the usual cache, or read in ranges."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from yxanul.base.errors import YxanulError
from yxanul.text.sources.files import File
from yxanul.text.sources.hub_plan import Entry
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.retry import is_passing, patiently

BUFFER_BYTES = 1 << 22


class Access:
    """How the files of one set are opened; `wanted` holds the commit that they are of.

    Without downloads a file comes from the cache if it is there, else in ranges from the hub:
    enough for a look at it, and all there is to streaming.
    """

    def __init__(self, wanted: HubQuery, streaming: bool):
        self.wanted = wanted
        self.downloads = False
        self._streaming = streaming
        self._has_ranges: bool | None = None

    def file(self, entry: Entry) -> HubFile:
        """Return a file of the set."""
        address = f"hf://datasets/{self.wanted.name}@{self.wanted.revision}/{entry.path}"
        return HubFile(entry.path, address, entry.size_bytes, entry.mark, self)

    def local_path(self, file: HubFile) -> str | None:
        """Return where the file lies on this machine, downloaded if that is the way."""
        path = self.cached(file)
        if path is None and (self.downloads or not self._answers_with_ranges(file)):
            path = patiently(self.wanted, lambda: self._downloaded(file))
        return path

    def _answers_with_ranges(self, file: HubFile) -> bool:
        """Try it once: some servers that stand in for the hub send whole files alone."""
        if self._has_ranges is None and file.size_bytes:
            try:
                _Ranges(file).read(1)
                self._has_ranges = True
            except _NoRanges:
                if self._streaming:
                    raise
                self._has_ranges = False
        return self._has_ranges is not False

    def cached(self, file: HubFile) -> str | None:
        """Return where the file lies if it is there, and whole."""
        from huggingface_hub import try_to_load_from_cache

        wanted = self.wanted
        path = try_to_load_from_cache(
            wanted.name, file.name, revision=wanted.revision, repo_type="dataset"
        )
        return path if isinstance(path, str) and _size(path) == file.size_bytes else None

    def _downloaded(self, file: HubFile) -> str:
        """Download a file; of several processes one does, and the others wait for it."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import silent_tqdm

        wanted = self.wanted
        path = hf_hub_download(
            wanted.name,
            file.name,
            revision=wanted.revision,
            repo_type="dataset",
            # Bars of several processes would write over each other.
            tqdm_class=cast(Any, silent_tqdm),
        )
        if (size := _size(path)) != file.size_bytes:
            _remove(path)
            raise ConnectionError(f"{file.name} has {size} of {file.size_bytes} bytes")
        return path


@dataclass(frozen=True, slots=True)
class HubFile(File):
    """A file of a data set; its fingerprint is that of its content, whatever the commit."""

    access: Access

    def open(self, buffer_bytes: int | None = None) -> BinaryIO:
        """Open the file for reading from any place; a fault of the hub is a YxanulError."""
        local = self.access.local_path(self)
        if local is not None:
            return open(local, "rb")
        return io.BufferedReader(_Ranges(self), buffer_bytes or BUFFER_BYTES)

    def can_be_read_from_the_middle(self) -> bool:
        """The hub answers with ranges."""
        return True


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None


def _remove(path: str) -> None:
    """Remove a file of the cache that is not whole: the link, and what it links to."""
    for place in (os.path.realpath(path), path):
        with contextlib.suppress(OSError):
            os.unlink(place)


class _NoRanges(YxanulError):
    """The server sends more than what was asked for."""


class _Ranges(io.RawIOBase):
    """The bytes of a file, asked of the hub range by range; after a cut, from where it was."""

    def __init__(self, file: HubFile):
        from huggingface_hub import hf_hub_url

        self._file = file
        self._size_bytes = file.size_bytes or 0
        self._wanted = wanted = file.access.wanted
        self._url = hf_hub_url(
            wanted.name, file.name, revision=wanted.revision, repo_type="dataset"
        )
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Read at most so many bytes; 0 is the end of the file and nothing else."""
        asked = memoryview(buffer)[: max(self._size_bytes - self._at, 0)]
        if not len(asked):
            return 0
        count = patiently(self._wanted, lambda: self._fill(asked))
        self._at += count
        return count

    def _fill(self, asked: memoryview) -> int:
        """Return how many bytes came; what came before a cut counts, if it is any."""
        count = 0
        try:
            for chunk in self._chunks(len(asked)):
                asked[count : count + len(chunk)] = chunk
                count += len(chunk)
        except Exception as error:
            if not count or not is_passing(error):
                raise
        if not count:
            raise ConnectionError(f"the answer for byte {self._at} of {self._file.name} is empty")
        return count

    def _chunks(self, length: int) -> Iterator[bytes]:
        from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        last = self._at + length - 1
        # Bytes packed on the way would not be those that the size and the ranges speak of.
        headers = {"Range": f"bytes={self._at}-{last}", "Accept-Encoding": "identity"}
        headers |= build_hf_headers()
        client, timeout = get_session(), HF_HUB_DOWNLOAD_TIMEOUT
        with client.stream("GET", self._url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            expected = f"bytes {self._at}-{last}/{self._size_bytes}"
            whole = response.status_code == 200 and length == self._size_bytes
            if not whole and response.headers.get("Content-Range") != expected:
                raise _NoRanges(
                    f"the hub does not send ranges of {self._file.name}",
                    found=response.headers.get("Content-Range", f"status {response.status_code}"),
                    wanted=expected,
                    hint="read it without streaming: streaming: false",
                )
            yield from response.iter_bytes()
