"""Names what the training waits for when it waits long: a slow disk, a source, another process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from yxanul.base.ui import Ui

STALL_SECONDS = 60.0
"""After so long, and then each time it has doubled, the wait is named."""


class StallWatch:
    """A thread that looks on while a block runs; it only speaks."""

    def __init__(self, ui: Ui, seconds: float = STALL_SECONDS) -> None:
        self._ui, self._seconds = ui, seconds
        self._lock = threading.Condition()
        self._what = ""
        self._began = self._limit = 0.0
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watching(self, what: str) -> Iterator[None]:
        """Warn that `what` takes long, once it does."""
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
                    self._ui.warn(f"{self._what}: nothing for {waited:.0f} s; still waiting")
            self._thread = None  # nothing was waited for in all this time
