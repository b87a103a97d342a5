"""Scratch folders for files in transit."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path

_STALE_SECONDS = 60.0
_NAME = "yxanul-scratch-"


class Scratch:
    """A temporary folder that lives as long as this object; also removes orphaned ones."""

    def __init__(self) -> None:
        for path in Path(tempfile.gettempdir()).glob(f"{_NAME}*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    os.close(_lock(path))
                    shutil.rmtree(path, ignore_errors=True)
        self.folder = Path(tempfile.mkdtemp(prefix=_NAME))
        self.remove = weakref.finalize(self, _remove, self.folder, _lock(self.folder))


def _lock(folder: Path) -> int:
    """Lock a folder; raise OSError if a living process holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
