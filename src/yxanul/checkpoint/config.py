"""Settings of checkpoints."""

from __future__ import annotations

from pydantic import Field, field_validator

from yxanul.base.metric_names import check_metric
from yxanul.base.settings import Settings


class CheckpointSettings(Settings):
    """When to write checkpoints and how many to keep; the end of a stage always writes one."""

    every_steps: int | None = Field(default=1000, gt=0)
    """Write one after so many updates of a stage; null: never by steps."""
    every_minutes: float | None = Field(default=None, gt=0)
    """Write one when so many minutes have passed since the last; null: never by time."""
    phase_ends: bool = True
    """Write one at the end of each phase of the curriculum."""
    keep: int = Field(default=3, ge=1)
    """How many of the newest stay; the best stays in any case."""
    keep_every_steps: int | None = Field(default=None, gt=0)
    """Write one at each multiple of so many updates of the run, and keep it for good."""
    best: str = "val/bits_per_byte"
    """The metric that decides which checkpoint is the best: val/loss, val/perplexity or
    val/bits_per_byte of all domains' text as one (the first two weigh domains by their tokens, the
    last by their bytes), or of one domain, as val/math/perplexity."""
    background: bool = True
    """Write from a copy in memory while the training goes on; false: the training waits."""

    @field_validator("best")
    @classmethod
    def _best_is_known(cls, best: str) -> str:
        if "*" in best:
            raise ValueError(f"one metric decides, without a *: {best!r}")
        return check_metric(best)
