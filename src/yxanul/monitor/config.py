"""Settings for monitoring."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from yxanul.base.settings import Settings

TrackerName = Literal["jsonl", "tensorboard", "wandb"]


class MonitorSettings(Settings):
    """Metric trackers and alerts."""

    trackers: tuple[TrackerName, ...] = ("jsonl",)
    """Where metrics are logged; jsonl is metrics.jsonl in the run folder."""
    alerts: bool = True
    """Warn about gradients and losses that look wrong."""

    @field_validator("trackers")
    @classmethod
    def _check(cls, trackers: tuple[TrackerName, ...]) -> tuple[TrackerName, ...]:
        if len(set(trackers)) < len(trackers):
            raise ValueError(f"list each tracker only once, got {', '.join(trackers)}")
        return trackers
