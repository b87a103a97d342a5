"""Storage of shards: a local folder, or a remote address shared by machines."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.files import sync_folder
from yxanul.text.sources.remote import file_system, protocol_of
from yxanul.text.sources.retry import is_not_found, retry

_MAX_WAIT_SECONDS = 8.0
_NUM_THREADS = 16
# Object stores write files atomically; elsewhere a temporary file is renamed.
_ATOMIC_PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory")


class Storage:
    """A local folder, so that pull and push have nothing to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self) -> None:
        """Refresh the file listing."""

    def size(self, path: Path) -> int | None:
        """Return the size of a file in bytes, or None if it does not exist."""
        return path.stat().st_size if path.is_file() else None

    def files(self, folder: Path, pattern: str) -> list[Path]:
        """Return the files in a folder that match a glob pattern."""
        return list(folder.glob(pattern))

    def pull(self, paths: Iterable[Path]) -> None:
        """Download files that exist there and not yet here."""

    def push(self, paths: Iterable[Path]) -> None:
        """Upload files atomically and in order."""

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete files."""
        for path in filter(Path.exists, paths):
            path.unlink()
            sync_folder(path.parent)


class RemoteStorage(Storage):
    """A remote address; `folder` holds local copies of the files that this process needs."""

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__(folder)
        self.address = address
        self.check: Callable[[], None] = lambda: None
        """Raises if the write lease is lost."""
        self.token = ""
        """Identifies this process's write lease."""
        self._system, root = file_system(address)
        self._root = root.rstrip("/")
        self._sizes: dict[str, dict[str, int]] = {}

    def look(self) -> None:
        """List all names and sizes."""
        self._system.invalidate_cache()
        listing = self._retry(lambda: self._system.find(self._root, detail=True))
        self._sizes = {}
        for name, info in listing.items():
            folder, _, last = name[len(self._root) + 1 :].rpartition("/")
            self._sizes.setdefault(folder, {})[last] = info["size"]

    def size(self, path: Path) -> int | None:
        """Return the size of a file in the last listing."""
        return self._listing_of(path).get(path.name)

    def files(self, folder: Path, pattern: str) -> list[Path]:
        """Return the matching files of a folder in the last listing."""
        names = self._listing_of(folder / "any")
        return [folder / name for name in names if fnmatch(name, pattern)]

    def sources(self) -> list[str]:
        """Return the names of the sources that have a manifest."""
        return sorted(name for name, files in self._sizes.items() if "manifest.json" in files)

    def pull(self, paths: Iterable[Path]) -> None:
        """Download files that exist there and not yet here."""
        for _ in self.fetch(path for path in paths if self.size(path) is not None):
            pass

    def fetch(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Download files concurrently; yield each in order once complete."""
        return self._each(self._get, [path for path in paths if not path.exists()])

    def push(self, paths: Iterable[Path]) -> None:
        """Upload files in order; existing files are replaced atomically."""
        for path in paths:
            self._retry(lambda path=path: self._put(path))
            self._listing_of(path)[path.name] = path.stat().st_size

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete files there and their local copies."""
        existing = [
            path for path in paths if self._listing_of(path).pop(path.name, None) is not None
        ]
        for path in self._each(self._delete, existing):
            path.unlink(missing_ok=True)

    def read(self, path: Path) -> bytes | None:
        """Return the current content of a file, or None if it does not exist."""
        try:
            return self._retry(lambda: self._system.cat_file(self._name(path)))
        except YxanulError as error:
            if error.__cause__ is not None and is_not_found(error.__cause__):
                return None
            raise

    def known(self, *suffixes: str) -> list[Path]:
        """Return all files with these suffixes in the last listing."""
        return [
            self.folder / folder / name
            for folder, names in self._sizes.items()
            for name in names
            if name.endswith(suffixes)
        ]

    def _listing_of(self, path: Path) -> dict[str, int]:
        folder = path.parent.relative_to(self.folder).as_posix()
        return self._sizes.setdefault("" if folder == "." else folder, {})

    def _name(self, path: Path) -> str:
        return f"{self._root}/{path.relative_to(self.folder).as_posix()}"

    def _get(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            self._system.get_file(self._name(path), str(temporary))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _put(self, path: Path) -> None:
        name = self._name(path)
        if protocol_of(self.address) in _ATOMIC_PROTOCOLS:
            self._system.put_file(str(path), name)
            return
        folder, _, last = name.rpartition("/")
        temporary = f"{folder}/.{last}.{uuid.uuid4().hex}.partial"
        self._system.makedirs(folder, exist_ok=True)
        self._system.put_file(str(path), temporary)
        self._system.mv(temporary, name)

    def _delete(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._name(path))

    def _each(self, action: Callable[[Path], None], paths: Sequence[Path]) -> Iterator[Path]:
        with ThreadPoolExecutor(_NUM_THREADS) as pool:
            work = {path: pool.submit(self._retry, lambda p=path: action(p)) for path in paths}
            try:
                for path, future in work.items():
                    future.result()
                    yield path
            finally:
                pool.shutdown(cancel_futures=True)

    def _retry(self, action: Callable[[], Any]) -> Any:
        try:
            # A lease expires while it waits longer.
            return retry(action, self.address, max_wait=_MAX_WAIT_SECONDS)
        except YxanulError as error:
            got = error.what if error.got is None else error.got
            what = f"cannot access {self.address}"
            raise YxanulError(what, got=got, hint=error.hint) from error.__cause__
