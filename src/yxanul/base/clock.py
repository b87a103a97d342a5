"""Stopwatch on a monotonic clock, and how the time to the first step was spent."""

from __future__ import annotations

import os
import time
from pathlib import Path


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


class Startup:
    """Laps from the start of the process to the end of the first step."""

    def __init__(self) -> None:
        self._watch = Stopwatch()
        self._before = _age_seconds()
        self.ended = False

    def lap(self, name: str) -> None:
        """Add the time since the last lap to `name`."""
        if not self.ended:
            self._watch.lap(name)

    def end(self, name: str) -> None:
        """Add the last lap; later laps are ignored."""
        self.lap(name)
        self.ended = True

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by lap; "python" is the time before this object was created."""
        return {"python": self._before, **self._watch.laps}

    def __str__(self) -> str:
        laps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        return f"{sum(self.seconds.values()):.1f} s from the command to the first step ({laps})"


def _age_seconds() -> float:
    """Return the age of this process in seconds; 0 if the system does not report it."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        born = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - born)
    except (OSError, AttributeError, ValueError, IndexError):
        return 0.0
