"""Settings of checkpoints."""

from __future__ import annotations

from pydantic import Field, field_validator

from yxanul.base.metric_names import check_metric
from yxanul.base.settings import Settings


class CheckpointSettings(Settings):
    """When to save checkpoints and how many to keep; one is always saved at the end of a stage."""

    every_steps: int | None = Field(default=1000, gt=0)
    """Save every N optimizer steps of a stage; null: not by steps."""
    every_minutes: float | None = Field(default=None, gt=0)
    """Save N minutes after the last save; null: not by time."""
    phase_ends: bool = True
    """Save at the end of each phase of the curriculum."""
    keep: int = Field(default=3, ge=1)
    """Number of newest checkpoints to keep; the best is always kept."""
    keep_every_steps: int | None = Field(default=None, gt=0)
    """Save at every N-th optimizer step of the run, and never delete these checkpoints."""
    best: str = "val/bits_per_byte"
    """The metric that selects the best checkpoint: val/loss, val/perplexity or val/bits_per_byte
    over all domains (the first two weight domains by tokens, the last by bytes), or of one domain,
    such as val/math/perplexity."""
    background: bool = True
    """Save asynchronously from a copy in memory; false: training blocks until the save is done."""

    @field_validator("best")
    @classmethod
    def _best_is_known(cls, best: str) -> str:
        if "*" in best:
            raise ValueError(f"must be a single metric, without *; got {best!r}")
        return check_metric(best)
