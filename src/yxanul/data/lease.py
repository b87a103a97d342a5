"""One process at a time writes to an address: it leaves a claim there, and renews it."""

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
"""A claim that was not renewed for so long is taken over."""
_RENEW_SECONDS = 15.0
_SETTLE_SECONDS = 1.0
_CLAIM = ".claim.json"


@contextlib.contextmanager
def open_place(address: str | None, folder: Path) -> Iterator[Storage]:
    """Hold a place for this process: an address, or by default the local `folder`."""
    if address is None or not is_address(address):
        with folder_lock(folder):
            yield Storage(folder)
        return
    scratch = Scratch()
    try:
        place = RemoteStorage(address, scratch.folder)
        with _claimed(place):
            place.look()
            place.remove(place.known(".partial"))  # of killed workers
            place.pull(place.known(".json", ".npz"))
            yield place
    finally:
        scratch.remove()


def check_token(place: RemoteStorage, token: str) -> None:
    """Raise when the place is not, or no more, held by the process that gave a task out."""
    if _read(place).get("token") != token:
        raise _lost(place)


@contextlib.contextmanager
def _claimed(place: RemoteStorage) -> Iterator[None]:
    place.token = uuid.uuid4().hex
    _refuse_if_held(place)
    renewal = _Renewal(place)
    try:
        _write(place)
        # Two that came at the same moment both wrote: one of them finds the other's claim here.
        time.sleep(_SETTLE_SECONDS)
        _refuse_if_held(place)
        renewal.start()
        place.check = renewal.check
        yield
    finally:
        renewal.end()


class _Renewal(threading.Thread):
    """Writes the time into the claim, again and again."""

    def __init__(self, place: RemoteStorage) -> None:
        super().__init__(name="claim", daemon=True)
        self._place, self._ended = place, threading.Event()
        self._renewed, self._lost = time.monotonic(), False

    def run(self) -> None:
        while not self._ended.wait(_RENEW_SECONDS) and not self._lost:
            with contextlib.suppress(YxanulError):
                self._lost = _read(self._place).get("token") != self._place.token
                if not self._lost:
                    _write(self._place)
                    self._renewed = time.monotonic()

    def check(self) -> None:
        """Raise when the claim is another's, or may soon be."""
        if self._lost or time.monotonic() - self._renewed > STALE_SECONDS / 2:
            raise _lost(self._place)

    def end(self) -> None:
        """Give the place back."""
        self._ended.set()
        if self.is_alive():
            self.join()
        with contextlib.suppress(YxanulError):
            if _read(self._place).get("token") == self._place.token:
                self._place.remove([self._place.folder / _CLAIM])


def _read(place: RemoteStorage) -> dict[str, Any]:
    try:
        claim = json.loads(place.read(place.folder / _CLAIM) or b"{}")
    except ValueError:
        return {}
    return claim if isinstance(claim, dict) else {}


def _write(place: RemoteStorage) -> None:
    path = place.folder / _CLAIM
    claim = {"host": platform.node(), "pid": os.getpid(), "time": time.time()}
    write_json(path, claim | {"token": place.token})
    place.push([path])


def _refuse_if_held(place: RemoteStorage) -> None:
    claim = _read(place)
    if claim.get("token") in (None, place.token) or _is_stale(claim):
        return
    ago = max(0, round(time.time() - claim["time"]))
    raise YxanulError(
        f"{place.address} is in use by another process",
        got=f"process {claim.get('pid')} on {claim.get('host')}, which said so {ago} s ago",
        hint=f"wait for it, or stop it: {STALE_SECONDS:g} s after its last word it is out",
    )


def _is_stale(claim: dict[str, Any]) -> bool:
    try:
        if abs(time.time() - claim["time"]) > STALE_SECONDS:
            return True
        if claim["host"] != platform.node():
            return False
        os.kill(claim["pid"], 0)
    except (KeyError, TypeError, ProcessLookupError):
        return True
    except PermissionError:
        return False
    return False


def _lost(place: RemoteStorage) -> YxanulError:
    return YxanulError(
        f"{place.address} is no more held by this call",
        hint="another took it over, or it could not be reached; the same command goes on",
    )
