"""Several trackers as one: the record of a run, and others that must neither end nor slow it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence

from yxanul.monitor.alerts import Alert
from yxanul.monitor.trackers.tracker import Histogram, Tracker

MOST_WAITING = 10_000
"""Calls that may wait for a slow tracker."""
CLOSE_SECONDS = 60.0

_Call = Callable[[Tracker], None]


class MultiTracker:
    """Forwards every call: to `records` at once, to each of `background` in its own thread."""

    def __init__(self, records: Sequence[Tracker], background: Sequence[BackgroundTracker]):
        self._records, self._background = records, background

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log to all trackers."""
        own = dict(metrics)
        self._each(lambda tracker: tracker.log(step, own))

    def text(self, step: int, name: str, text: str) -> None:
        """Log a text to all trackers."""
        self._each(lambda tracker: tracker.text(step, name, text))

    def histogram(self, step: int, name: str, histogram: Histogram) -> None:
        """Log a histogram to all trackers."""
        self._each(lambda tracker: tracker.histogram(step, name, histogram))

    def alert(self, alert: Alert) -> None:
        """Log an alert to all trackers."""
        self._each(lambda tracker: tracker.alert(alert))

    def rewind(self, step: int) -> None:
        """Rewind all trackers."""
        self._each(lambda tracker: tracker.rewind(step))

    def close(self) -> None:
        """Close all trackers; one that hangs is left after a minute."""
        for tracker in (*self._records, *self._background):
            tracker.close()

    def _each(self, call: _Call) -> None:
        for tracker in self._records:
            call(tracker)
        for tracker in self._background:
            tracker.submit(call)


class BackgroundTracker:
    """Calls a tracker in a thread; its first failure disables it, with a warning."""

    def __init__(self, name: str, tracker: Tracker, warn: Callable[[str], None]):
        self._name, self._tracker, self._warn = name, tracker, warn
        self._calls: queue.Queue[tuple[_Call, threading.Event | None]] = queue.Queue(MOST_WAITING)
        self._has_failed = False
        threading.Thread(target=self._work, name=f"tracker {name}", daemon=True).start()

    def submit(self, call: _Call, done: threading.Event | None = None) -> None:
        """Have the thread make a call, and set `done` after it."""
        if self._has_failed:
            return
        try:
            self._calls.put_nowait((call, done))
        except queue.Full:
            self._fail(f"its queue is full ({MOST_WAITING:,} calls)")

    def close(self) -> None:
        """Close the tracker; one that hangs is left after a minute."""
        closed = threading.Event()
        self.submit(lambda tracker: tracker.close(), closed)
        if not self._has_failed and not closed.wait(CLOSE_SECONDS):
            self._fail(f"it did not close within {CLOSE_SECONDS:g} s")

    def _work(self) -> None:
        while True:
            call, done = self._calls.get()
            try:
                if not self._has_failed:
                    call(self._tracker)
            except Exception as error:  # whatever a foreign package may raise
                self._fail(f"{type(error).__name__}: {error}")
            finally:
                if done is not None:
                    done.set()

    def _fail(self, why: str) -> None:
        if self._has_failed:
            return
        self._has_failed = True
        self._warn(f"tracker {self._name} failed and is disabled for the rest of the run: {why}")
