"""Storage of shards: a local folder, or an address (fsspec) that machines share."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Any

from yxanul.base.cache import is_address
from yxanul.base.errors import YxanulError
from yxanul.base.files import folder_lock, is_locked, sync_folder
from yxanul.base.ui import Ui
from yxanul.text.sources.remote import file_system, protocol_of
from yxanul.text.sources.retry import is_not_found, retry

_NUM_THREADS = 16
# Object stores write files atomically; elsewhere a temporary file is renamed.
_ATOMIC_PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory")
_WRITER_FILE = ".claim.json"
_SCRATCH_NAME = "yxanul-scratch-"
_NEW_SECONDS = 60.0
_ORPHAN_TIMEOUT_SECONDS = 30.0


class Storage:
    """A local folder, so that pull and push have nothing to do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self) -> None:
        """Refresh the file listing."""

    def size(self, path: Path) -> int | None:
        """Return the size of a file in bytes, or None if it does not exist."""
        return path.stat().st_size if path.is_file() else None

    def files(self, pattern: str) -> list[Path]:
        """Return the files whose names relative to the folder match a glob pattern."""
        return list(self.folder.glob(pattern))

    def pull(self, paths: Iterable[Path]) -> None:
        """Download files that are not here yet."""

    def push(self, paths: Iterable[Path]) -> None:
        """Upload files atomically and in order."""

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete files."""
        for path in filter(Path.exists, paths):
            path.unlink()
            sync_folder(path.parent)


class RemoteStorage(Storage):
    """An address; `folder` holds local copies of the files that this process needs."""

    def __init__(self, address: str, folder: Path, writer: str = "") -> None:
        """Only a storage with the id of the current `writer` may change files there."""
        super().__init__(folder)
        self.address, self.writer = address, writer
        self._system, root = file_system(address)
        self._root = root.rstrip("/")
        self._sizes: dict[str, int] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it without its listing."""
        return RemoteStorage, (self.address, self.folder, self.writer)

    def look(self) -> None:
        """List all names and sizes."""
        self._system.invalidate_cache()
        found = self._retry(lambda: self._system.find(self._root, detail=True))
        self._sizes = {name[len(self._root) + 1 :]: info["size"] for name, info in found.items()}

    def size(self, path: Path) -> int | None:
        """Return the size of a file in the last listing."""
        return self._sizes.get(self._name(path))

    def files(self, pattern: str) -> list[Path]:
        """Return the matching files of the last listing; `*` matches any number of folders."""
        return [self.folder / name for name in self._sizes if fnmatch(name, pattern)]

    def pull(self, paths: Iterable[Path], then: Callable[[Path], None] = lambda path: None) -> None:
        """Download files that are not here yet; call `then` for each in order."""
        self._each(self._get, (path for path in paths if not path.exists()), then)

    def push(self, paths: Iterable[Path]) -> None:
        """Upload files in order; existing files are replaced atomically."""
        for path in paths:
            self._check_writer()
            self._retry(lambda path=path: self._put(path))
            self._sizes[self._name(path)] = path.stat().st_size

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete files of the last listing, and their local copies."""
        if listed := [
            path for path in paths if self._sizes.pop(self._name(path), None) is not None
        ]:
            self._check_writer()
            self._each(self._delete, listed, lambda path: path.unlink(missing_ok=True))

    def read(self, path: Path) -> bytes | None:
        """Return the current content of a file, or None if it does not exist."""
        try:
            return self._retry(lambda: self._system.cat_file(self._remote(path)))
        except YxanulError as error:
            if error.__cause__ is not None and is_not_found(error.__cause__):
                return None
            raise

    def become_writer(self, ui: Ui) -> None:
        """Take the address over: a process that began earlier stops when it next writes."""
        path = self.folder / _WRITER_FILE
        if before := self._current_writer():
            ui.warn(
                f"{self.address}: taking over from process {before.get('pid')} on"
                f" {before.get('host')}, which stops if it is still running"
            )
        mine = {"host": platform.node(), "pid": os.getpid(), "token": uuid.uuid4().hex}
        path.write_text(json.dumps(mine))
        self.push([path])
        self.writer = mine["token"]

    def resign(self) -> None:
        """Stop being the writer."""
        with contextlib.suppress(YxanulError):
            self.remove([self.folder / _WRITER_FILE])

    def _check_writer(self) -> None:
        if self.writer and self._current_writer().get("token") != self.writer:
            raise YxanulError(
                f"a later command took over {self.address}",
                hint="let only one prepare an address at a time; run the same command to resume",
            )

    def _current_writer(self) -> dict[str, Any]:
        try:
            writer = json.loads(self.read(self.folder / _WRITER_FILE) or b"{}")
        except ValueError:
            return {}
        return writer if isinstance(writer, dict) else {}

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def _remote(self, path: Path) -> str:
        return f"{self._root}/{self._name(path)}"

    def _get(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            self._system.get_file(self._remote(path), str(temporary))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _put(self, path: Path) -> None:
        name = self._remote(path)
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
            self._system.rm_file(self._remote(path))

    def _each(
        self, action: Callable[[Path], None], paths: Iterable[Path], then: Callable[[Path], None]
    ) -> None:
        """Run an action for all paths in threads; call `then` for each in order."""

        def act(path: Path) -> Path:
            self._retry(lambda: action(path))
            return path

        pool = ThreadPoolExecutor(_NUM_THREADS)
        try:
            for path in pool.map(act, paths):
                then(path)
        finally:
            pool.shutdown(cancel_futures=True)

    def _retry(self, action: Callable[[], Any]) -> Any:
        try:
            return retry(action, self.address)
        except YxanulError as error:
            got = error.what if error.got is None else error.got
            what = f"cannot access {self.address}"
            raise YxanulError(what, got=got, hint=error.hint) from error.__cause__


@contextlib.contextmanager
def open_storage(address: str | None, folder: Path, ui: Ui) -> Iterator[Storage]:
    """Open the storage at `address`, by default the local `folder`, as its only writer."""
    if address is None or not is_address(address):
        with folder_lock(folder):
            _wait_for_orphans(folder)
            yield Storage(folder)
        return
    with scratch_folder() as scratch:
        storage = RemoteStorage(address, scratch)
        storage.become_writer(ui)
        try:
            storage.look()
            storage.remove(storage.files("*.partial"))  # left by killed processes
            storage.pull([*storage.files("*.json"), *storage.files("*.npz")])
            yield storage
        finally:
            storage.resign()


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Context manager: a temporary folder. Those that killed processes left are removed too."""
    for left in Path(tempfile.gettempdir()).glob(f"{_SCRATCH_NAME}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _NEW_SECONDS and not is_locked(left):
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH_NAME) as name, folder_lock(Path(name)):
        yield Path(name)


def worker_lock(folder: Path) -> IO[str]:
    """Return an open file: a worker holds it while it may write to the local `folder`."""
    file = open(folder / ".workers", "a")  # noqa: SIM115 - the caller closes it
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _wait_for_orphans(folder: Path) -> None:
    """Wait for the workers of a killed process, which exit by themselves."""
    deadline = time.monotonic() + _ORPHAN_TIMEOUT_SECONDS
    with open(folder / ".workers", "a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise YxanulError(
                        f"workers of an earlier run still write to {folder}",
                        hint="stop them, or choose another folder",
                    ) from None
                time.sleep(0.02)
