"""Settings of what is recorded."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from yxanul.base.settings import Settings

TrackerName = Literal["jsonl", "tensorboard", "wandb"]


class MonitorSettings(Settings):
    """What is recorded, and where."""

    trackers: tuple[TrackerName, ...] = ("jsonl",)
    """Where metrics go; jsonl is the run folder's own metrics.jsonl."""
    alerts: bool = True
    """Warn, in words, of gradients and losses that look wrong."""

    @field_validator("trackers")
    @classmethod
    def _check(cls, trackers: tuple[TrackerName, ...]) -> tuple[TrackerName, ...]:
        if len(set(trackers)) < len(trackers):
            raise ValueError(f"each tracker once, got {', '.join(trackers)}")
        return trackers
