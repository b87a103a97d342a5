"""Stopwatch on a monotonic clock."""

from __future__ import annotations

import time


class Stopwatch:
    """Accumulates seconds by named lap."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> float:
        """Add the time since the last lap (or the start) to `name` and return it."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        self.laps[name] = self.laps.get(name, 0.0) + seconds
        return seconds
