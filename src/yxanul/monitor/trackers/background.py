"""A tracker that only shows metrics: it must neither end a run nor slow it."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Mapping

from yxanul.monitor.alerts import Alert
from yxanul.monitor.trackers.tracker import Histogram, Tracker

MOST_WAITING = 10_000
"""Calls that may wait for a slow tracker."""
CLOSE_SECONDS = 60.0

_Call = Callable[[Tracker], None]


class BackgroundTracker:
    """Calls a tracker in a thread; after its first failure it is warned of and left alone."""

    def __init__(self, name: str, tracker: Tracker, warn: Callable[[str], None]):
        self._name, self._tracker, self._warn = name, tracker, warn
        self._calls: queue.Queue[tuple[_Call, threading.Event | None]] = queue.Queue(MOST_WAITING)
        self._has_failed = False
        threading.Thread(target=self._work, name=f"tracker {name}", daemon=True).start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics that are finite: others have no place in a chart."""
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self._submit(lambda tracker: tracker.log(step, finite))

    def text(self, step: int, name: str, text: str) -> None:
        """Log a text."""
        self._submit(lambda tracker: tracker.text(step, name, text))

    def histogram(self, step: int, name: str, histogram: Histogram) -> None:
        """Log a distribution."""
        self._submit(lambda tracker: tracker.histogram(step, name, histogram))

    def alert(self, alert: Alert) -> None:
        """Log an alert."""
        self._submit(lambda tracker: tracker.alert(alert))

    def rewind(self, step: int) -> None:
        """Rewind the tracker."""
        self._submit(lambda tracker: tracker.rewind(step))

    def close(self) -> None:
        """Close the tracker; one that hangs is left after a minute."""
        closed = threading.Event()
        self._submit(lambda tracker: tracker.close(), closed)
        if not self._has_failed and not closed.wait(CLOSE_SECONDS):
            self._fail("it does not close")

    def _submit(self, call: _Call, done: threading.Event | None = None) -> None:
        if self._has_failed:
            return
        try:
            self._calls.put_nowait((call, done))
        except queue.Full:
            self._fail(f"{MOST_WAITING:,} calls are waiting for it")

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
        self._warn(f"tracker {self._name} has failed and is left out from here on: {why}")
