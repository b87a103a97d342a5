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
from yxanul.text.sources.hub_plan import Entry
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.retry import retry


class HubFiles:
    """Access to the files of one dataset; the revision of the query is a commit.

    Without downloads, a file is read from the cache if possible, else by range requests from the
    hub, which is enough for sampling and streaming.
    """

    def __init__(self, query: HubQuery, streaming: bool):
        self.query = query
        self.downloads = False
        self._streaming = streaming
        self._has_ranges: bool | None = None

    def file(self, entry: Entry) -> HubFile:
        """Return a file of the set."""
        address = f"hf://datasets/{self.query.name}@{self.query.revision}/{entry.path}"
        return HubFile(entry.path, address, entry.size_bytes, entry.digest, self)

    def local_path(self, file: HubFile) -> str | None:
        """Return the local path of a file, downloading it if needed; None if it is streamed."""
        path = self.cached(file)
        if path is None and (self.downloads or not self._answers_with_ranges(file)):
            if self._streaming:
                raise YxanulError(
                    f"the hub does not support range requests for {file.name}",
                    hint="set streaming: false",
                )
            path = retry(lambda: self._download(file), self.query)
        return path

    def cached(self, file: HubFile) -> str | None:
        """Return the path of a file in the cache, if it is there and complete."""
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(
            self.query.name, file.name, revision=self.query.revision, repo_type="dataset"
        )
        return path if isinstance(path, str) and _size(path) == file.size_bytes else None

    def _answers_with_ranges(self, file: HubFile) -> bool:
        """Return whether ranges are supported (tested once): some mirrors send only whole files."""
        if self._has_ranges is None and file.size_bytes:
            self._has_ranges = retry(lambda: self._sends_range(file), self.query)
        return self._has_ranges is not False

    def _sends_range(self, file: HubFile) -> bool:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        query = self.query
        url = hf_hub_url(query.name, file.name, revision=query.revision, repo_type="dataset")
        headers = build_hf_headers() | {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
        timeout = HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            return response.status_code == 206 and total == str(file.size_bytes)

    def _download(self, file: HubFile) -> str:
        """Download a file; among several processes one does, and the others wait."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import silent_tqdm

        path = hf_hub_download(
            self.query.name,
            file.name,
            revision=self.query.revision,
            repo_type="dataset",
            # Progress bars of several processes would overwrite each other.
            tqdm_class=cast(Any, silent_tqdm),
        )
        if (size := _size(path)) != file.size_bytes:
            # The client takes any cached file for complete: delete the link and its target.
            for stale in (os.path.realpath(path), path):
                with contextlib.suppress(OSError):
                    os.unlink(stale)
            raise ConnectionError(f"{file.name} has {size} of {file.size_bytes} bytes")
        return path


@dataclass(frozen=True, slots=True)
class HubFile(File):
    """A file of a dataset; its fingerprint depends on its content, not on the commit."""

    access: HubFiles

    def open(self, buffer_bytes: int | None = None) -> BinaryIO:
        """Open the file as a seekable stream; faults of the hub raise YxanulError."""
        if (path := self.access.local_path(self)) is not None:
            return open(path, "rb")
        raw = remote.RemoteFile(self.address, self.size_bytes, None, self.access.query)
        return io.BufferedReader(raw, buffer_bytes or remote.BUFFER_BYTES)

    def has_random_access(self) -> bool:
        """Return True: the hub supports range requests."""
        return True


def _size(path: str) -> int | None:
    try:
        return os.path.getsize(path)
    except OSError:
        return None
