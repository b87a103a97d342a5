"""What a tracker can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Tracker(Protocol):
    """A place that metrics go to; within a step each name is logged once."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of `step`; steps never go back but by `rewind`."""

    def text(self, step: int, name: str, text: str) -> None:
        """Record a text, such as a sample."""

    def rewind(self, step: int) -> None:
        """Forget what was recorded after `step`: training goes on from its checkpoint."""

    def close(self) -> None:
        """Write out what is pending; closing twice is fine."""
