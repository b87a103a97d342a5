"""Interface of trackers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from yxanul.monitor.alerts import Alert


class Histogram(NamedTuple):
    """Counts by bin, and the edges of the bins: one more."""

    counts: list[float]
    edges: tuple[float, ...]


class Tracker(Protocol):
    """Destination of metrics; each name is logged once per step."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of `step`; steps never decrease except after `rewind`."""

    def text(self, step: int, name: str, text: str) -> None:
        """Log a text, such as a sample."""

    def histogram(self, step: int, name: str, histogram: Histogram) -> None:
        """Log a histogram."""

    def alert(self, alert: Alert) -> None:
        """Log an alert."""

    def rewind(self, step: int) -> None:
        """Drop everything logged after `step`: training resumes from its checkpoint."""

    def close(self) -> None:
        """Flush and close; may be called twice."""
