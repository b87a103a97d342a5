"""Write leases on remote addresses: one process at a time holds and renews a lease file."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yxanul.base.cache import is_address
from yxanul.base.errors import YxanulError
from yxanul.base.files import folder_lock, write_json
from yxanul.data.scratch import Scratch
from yxanul.data.storage import RemoteStorage, Storage

STALE_SECONDS = 120.0
"""Age at which a lease has expired and may be taken over."""
_RENEW_SECONDS = 15.0
_SETTLE_SECONDS = 1.0
_LEASE_FILE = ".claim.json"


@contextlib.contextmanager
def open_storage(address: str | None, folder: Path) -> Iterator[Storage]:
    """Hold the write lease on `address`, or the lock on the local `folder` by default."""
    if address is None or not is_address(address):
        with folder_lock(folder):
            yield Storage(folder)
        return
    scratch = Scratch()
    try:
        storage = RemoteStorage(address, scratch.folder)
        with _leased(storage):
            storage.look()
            storage.remove(storage.known(".partial"))  # left by killed workers
            storage.pull(storage.known(".json", ".npz"))
            yield storage
    finally:
        scratch.remove()


def check_token(storage: RemoteStorage, token: str) -> None:
    """Raise unless the lease is still held by the process that submitted the task."""
    if _read(storage).get("token") != token:
        raise _lost(storage)


@contextlib.contextmanager
def _leased(storage: RemoteStorage) -> Iterator[None]:
    storage.token = uuid.uuid4().hex
    _refuse_if_held(storage)
    renewal = _Renewal(storage)
    try:
        _write(storage)
        # If two processes start at the same moment, both write: one finds the other's lease here.
        time.sleep(_SETTLE_SECONDS)
        _refuse_if_held(storage)
        renewal.start()
        storage.check = renewal.check
        yield
    finally:
        renewal.end()


class _Renewal(threading.Thread):
    """Thread that renews the lease periodically."""

    def __init__(self, storage: RemoteStorage) -> None:
        super().__init__(name="lease", daemon=True)
        self._storage, self._ended = storage, threading.Event()
        self._renewed, self._lost = time.monotonic(), False

    def run(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS) and not self._lost:
            with contextlib.suppress(YxanulError):
                self._lost = _read(self._storage).get("token") != self._storage.token
                if not self._lost:
                    _write(self._storage)
                    self._renewed = time.monotonic()

    def check(self) -> None:
        """Raise if the lease is lost, or close to expiring."""
        if self._lost or time.monotonic() - self._renewed > STALE_SECONDS / 2:
            raise _lost(self._storage)

    def end(self) -> None:
        """Stop renewing, and release the lease."""
        self._ended.set()
        if self.is_alive():
            self.join()
        with contextlib.suppress(YxanulError):
            if _read(self._storage).get("token") == self._storage.token:
                self._storage.remove([self._storage.folder / _LEASE_FILE])


def _read(storage: RemoteStorage) -> dict[str, Any]:
    try:
        lease = json.loads(storage.read(storage.folder / _LEASE_FILE) or b"{}")
    except ValueError:
        return {}
    return lease if isinstance(lease, dict) else {}


def _write(storage: RemoteStorage) -> None:
    path = storage.folder / _LEASE_FILE
    lease = {"host": platform.node(), "pid": os.getpid(), "time": time.time()}
    write_json(path, lease | {"token": storage.token})
    storage.push([path])


def _refuse_if_held(storage: RemoteStorage) -> None:
    lease = _read(storage)
    if lease.get("token") in (None, storage.token) or _is_stale(lease):
        return
    ago = max(0, round(time.time() - lease["time"]))
    raise YxanulError(
        f"{storage.address} is in use by another process",
        got=f"a lease of process {lease.get('pid')} on {lease.get('host')}, renewed {ago} s ago",
        hint=f"wait for it or stop it; a lease expires {STALE_SECONDS:g} s after its last renewal",
    )


def _is_stale(lease: dict[str, Any]) -> bool:
    try:
        if abs(time.time() - lease["time"]) > STALE_SECONDS:
            return True
        if lease["host"] != platform.node():
            return False
        os.kill(lease["pid"], 0)
    except (KeyError, TypeError, ProcessLookupError):
        return True
    except PermissionError:
        return False
    return False


def _lost(storage: RemoteStorage) -> YxanulError:
    return YxanulError(
        f"lost the write lease on {storage.address}",
        hint="another process took it over, or the address was unreachable; rerun the same command"
        " to resume",
    )
