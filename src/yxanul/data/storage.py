"""Where encoded text is kept: a folder of this machine, or an address that many machines reach."""

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

_AT_ONCE = 16
# In an object store a file appears when all of it is there; elsewhere it is moved to its name.
_WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory")


class Storage:
    """A folder of this machine: what is written there is there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self) -> None:
        """Look again which files there are."""

    def size(self, path: Path) -> int | None:
        """Return how long a file is; None if it is not there."""
        return path.stat().st_size if path.is_file() else None

    def files(self, folder: Path, pattern: str) -> list[Path]:
        """Return the files in a folder."""
        return list(folder.glob(pattern))

    def pull(self, paths: Iterable[Path]) -> None:
        """Bring files here that are there and not here yet."""

    def push(self, paths: Iterable[Path]) -> None:
        """Bring files there, whole, one after all that come before it."""

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete files."""
        for path in filter(Path.exists, paths):
            path.unlink()
            sync_folder(path.parent)


class RemoteStorage(Storage):
    """An address; `folder` holds copies of those of its files that this process needs."""

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__(folder)
        self.address = address
        self.check: Callable[[], None] = lambda: None
        """Raises when another process has taken the place over."""
        self.token = ""
        """Stands in the claim on the place."""
        self._system, root = file_system(address)
        self._root = root.rstrip("/")
        self._sizes: dict[str, dict[str, int]] = {}

    def look(self) -> None:
        """Ask the file system for all names and sizes."""
        self._system.invalidate_cache()
        found = self._reach(lambda: self._system.find(self._root, detail=True))
        self._sizes = {}
        for name, info in found.items():
            folder, _, last = name[len(self._root) + 1 :].rpartition("/")
            self._sizes.setdefault(folder, {})[last] = info["size"]

    def size(self, path: Path) -> int | None:
        """Return how long a file was at the last look."""
        return self._names_beside(path).get(path.name)

    def files(self, folder: Path, pattern: str) -> list[Path]:
        """Return the files that a folder had at the last look."""
        names = self._names_beside(folder / "any")
        return [folder / name for name in names if fnmatch(name, pattern)]

    def sources(self) -> list[str]:
        """Return the names of the folders with a manifest."""
        return sorted(name for name, files in self._sizes.items() if "manifest.json" in files)

    def pull(self, paths: Iterable[Path]) -> None:
        """Copy files here."""
        for _ in self.fetch(path for path in paths if self.size(path) is not None):
            pass

    def fetch(self, paths: Iterable[Path]) -> Iterator[Path]:
        """Yield files as they come, some at a time."""
        return self._each(self._get, [path for path in paths if not path.exists()])

    def push(self, paths: Iterable[Path]) -> None:
        """Copy files there; a file of the same name is replaced as a whole."""
        for path in paths:
            self._reach(lambda path=path: self._put(path))
            self._names_beside(path)[path.name] = path.stat().st_size

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete files here and there."""
        gone = [path for path in paths if self._names_beside(path).pop(path.name, None) is not None]
        for path in self._each(self._delete, gone):
            path.unlink(missing_ok=True)

    def read(self, path: Path) -> bytes | None:
        """Return what stands in a file at this moment; None if it is not there."""
        try:
            return self._reach(lambda: self._system.cat_file(self._name(path)))
        except YxanulError as error:
            if error.__cause__ is not None and is_not_found(error.__cause__):
                return None
            raise

    def known(self, *ends: str) -> list[Path]:
        """Return all files whose names end so, at the last look."""
        return [
            self.folder / folder / name
            for folder, names in self._sizes.items()
            for name in names
            if name.endswith(ends)
        ]

    def _names_beside(self, path: Path) -> dict[str, int]:
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
        if protocol_of(self.address) in _WHOLE:
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
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            work = {path: pool.submit(self._reach, lambda p=path: action(p)) for path in paths}
            try:
                for path, future in work.items():
                    future.result()
                    yield path
            finally:
                pool.shutdown(cancel_futures=True)

    def _reach(self, action: Callable[[], Any]) -> Any:
        try:
            return retry(action, self.address)
        except YxanulError as error:
            found = error.what if error.got is None else error.got
            what = f"the place {self.address} cannot be used"
            raise YxanulError(what, got=found, hint=error.hint) from error.__cause__
