"""Files of a hub dataset: downloaded into the Hugging Face cache, or read by range requests."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from yxanul.base.errors import YxanulError
from yxanul.text.sources import remote
from yxanul.text.sources.files import File
from yxanul.text.sources.hub_plan import DatasetFile
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.retry import retry


@dataclass(frozen=True, slots=True)
class HubFile(File):
    """A file of a dataset; its fingerprint depends on its content, not on the commit."""

    query: HubQuery
    """The dataset; its revision is a commit."""
    streaming: bool
    """Nothing is kept on disk."""
    downloads: bool = False
    """It is downloaded when it is opened; else what is not cached is read by ranges."""

    def open(self, buffer_bytes: int | None = None) -> BinaryIO:
        """Open the file as a seekable stream; faults of the hub raise YxanulError."""
        path = self.cached()
        if path is None and self.downloads:
            path = self.download()
        if path is not None:
            return open(path, "rb")
        return io.BufferedReader(_Stream(self), buffer_bytes or remote.BUFFER_BYTES)

    def has_random_access(self) -> bool:
        """Return True: the hub supports range requests."""
        return True

    def cached(self) -> str | None:
        """Return the path of the file in the cache, if it is there and complete."""
        from huggingface_hub import try_to_load_from_cache

        query = self.query
        path = try_to_load_from_cache(
            query.name, self.name, revision=query.revision, repo_type="dataset"
        )
        return path if isinstance(path, str) and _size(path) == self.size_bytes else None

    def download(self) -> str:
        """Return the path of the downloaded file."""
        return retry(self._download, self.query, client_waits=True)

    def _download(self) -> str:
        """Download the file; among several processes one does, and the others wait."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import silent_tqdm

        query = self.query
        path = hf_hub_download(
            query.name,
            self.name,
            revision=query.revision,
            repo_type="dataset",
            # Progress bars of several processes would overwrite each other.
            tqdm_class=cast(Any, silent_tqdm),
        )
        if (size := _size(path)) != self.size_bytes:
            # The client takes any cached file for complete: delete the link and its target.
            for stale in (os.path.realpath(path), path):
                with contextlib.suppress(OSError):
                    os.unlink(stale)
            raise ConnectionError(f"{self.name} has {size} of {self.size_bytes} bytes")
        return path


def hub_file(
    entry: DatasetFile, query: HubQuery, streaming: bool, downloads: bool = False
) -> HubFile:
    """Return a file of a dataset."""
    address = f"hf://datasets/{query.name}@{query.revision}/{entry.path}"
    return HubFile(entry.path, address, entry.size_bytes, entry.digest, query, streaming, downloads)


class _Stream(remote.RetriedFile):
    """Raw stream of a file. The client's own file would retry each of our attempts six times."""

    def __init__(self, file: HubFile):
        super().__init__(file.query, file.size_bytes)
        self._file = file

    def fetch(self, length: int, attempt: int) -> bytes:
        """Return the next bytes by one range request."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        name, query = self._file.name, self._file.query
        url = hf_hub_url(query.name, name, revision=query.revision, repo_type="dataset")
        span = f"{self._at}-{self._at + length - 1}"
        headers = build_hf_headers() | {"Range": f"bytes={span}", "Accept-Encoding": "identity"}
        timeout = HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            if response.headers.get("Content-Range") == f"bytes {span}/{self._size_bytes}":
                return response.read()
        if self._file.streaming:
            raise YxanulError(
                f"the hub does not support range requests for {name}", hint="set streaming: false"
            )
        with open(self._file.download(), "rb") as whole:
            whole.seek(self._at)
            return whole.read(length)


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None
