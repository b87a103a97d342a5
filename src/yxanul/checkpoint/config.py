"""Settings of checkpoints."""

from __future__ import annotations

from pydantic import Field

from yxanul.base.settings import Settings


class CheckpointSettings(Settings):
    """When to write checkpoints and how many to keep; the end of a stage always writes one."""

    every_steps: int | None = Field(default=1000, gt=0)
    """Write one after so many updates; null: never by steps."""
    every_minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Write one when so many minutes have passed since the last; null: never by time."""
    keep: int = Field(default=3, ge=1)
    """How many of the newest stay; the best stays in any case."""
