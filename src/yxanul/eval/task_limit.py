"""When an evaluation of tasks beside training has to end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from time import perf_counter

from yxanul.base.interrupt import StopRequest
from yxanul.base.ui import ProgressTask, SilentUi


class TaskLimit(SilentUi):
    """Ends an evaluation that takes too long, or when the run is asked to stop."""

    class Ended(Exception):
        """The evaluation has been ended."""

    def __init__(self, stop: StopRequest, seconds: float):
        """Initialize with the longest time that the evaluation may take."""
        self._stop, self._end = stop, perf_counter() + seconds
        self._done, self._total, self._began = 0.0, 1.0, perf_counter()

    @contextlib.contextmanager
    def task(self, title: str, total: float, unit: str, done: int = 0) -> Iterator[ProgressTask]:
        """Run the block until the evaluation has to end."""
        self._done, self._total, self._began = 0.0, total, perf_counter()
        yield self

    def advance(self, amount: float, note: str = "") -> None:
        """Take note of progress; raise Ended if the evaluation has to end."""
        self._done += amount
        if self._stop.signal_number is not None or perf_counter() > self._end:
            raise TaskLimit.Ended

    def expect(self, total: float) -> None:
        """Change the expected total."""
        self._total = total

    def estimate(self, seconds: float) -> float:
        """Return how long the evaluation would take that was ended after so many seconds; what it
        does after its current part is unknown."""
        return seconds + (perf_counter() - self._began) * (self._total / max(self._done, 1.0) - 1)
