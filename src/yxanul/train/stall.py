"""Warnings about long waits: a slow disk, a source or another process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from yxanul.base.ui import Ui

STALL_SECONDS = 60.0
"""Wait before the first warning; another follows each time the wait has doubled."""


class StallWatch:
    """Background thread that warns about long waits; it never interrupts them."""

    def __init__(self, ui: Ui, seconds: float = STALL_SECONDS) -> None:
        self._ui, self._seconds = ui, seconds
        self._lock = threading.Condition()
        self._what = ""
        self._began = self._limit = 0.0
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self, what: str) -> Iterator[None]:
        """Warn if the block, described by `what`, takes long."""
        with self._lock:
            self._what, self._began, self._limit = what, time.monotonic(), self._seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="stall", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._what = ""

    def _look(self) -> None:
        with self._lock:
            while self._what or time.monotonic() - self._began < self._seconds:
                self._lock.wait(min(1.0, self._seconds / 4))
                waited = time.monotonic() - self._began
                if self._what and waited >= self._limit:
                    self._limit = 2 * waited
                    self._ui.warn(f"{self._what}: no progress for {waited:.0f} s; still waiting")
            self._thread = None  # idle for the whole interval
