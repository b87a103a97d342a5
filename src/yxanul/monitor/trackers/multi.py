"""Several trackers as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yxanul.monitor.alerts import Alert
from yxanul.monitor.trackers.tracker import Histogram, Tracker


class MultiTracker:
    """Forwards every call to each of `trackers`, in order."""

    def __init__(self, trackers: Sequence[Tracker]):
        self._trackers = trackers

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log to all trackers."""
        for tracker in self._trackers:
            tracker.log(step, metrics)

    def text(self, step: int, name: str, text: str) -> None:
        """Log a text to all trackers."""
        for tracker in self._trackers:
            tracker.text(step, name, text)

    def histogram(self, step: int, name: str, histogram: Histogram) -> None:
        """Log a histogram to all trackers."""
        for tracker in self._trackers:
            tracker.histogram(step, name, histogram)

    def alert(self, alert: Alert) -> None:
        """Log an alert to all trackers."""
        for tracker in self._trackers:
            tracker.alert(alert)

    def rewind(self, step: int) -> None:
        """Rewind all trackers."""
        for tracker in self._trackers:
            tracker.rewind(step)

    def close(self) -> None:
        """Close all trackers."""
        for tracker in self._trackers:
            tracker.close()
