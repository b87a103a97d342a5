"""Interface of trackers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Tracker(Protocol):
    """Destination of metrics; each name is logged once per step."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of `step`; steps never decrease except after `rewind`."""

    def text(self, step: int, name: str, text: str) -> None:
        """Log a text, such as a sample."""

    def rewind(self, step: int) -> None:
        """Drop everything logged after `step`: training resumes from its checkpoint."""

    def close(self) -> None:
        """Flush and close; may be called twice."""
