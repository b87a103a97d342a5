"""Settings of checkpoints."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from yxanul.base.errors import near_miss
from yxanul.base.settings import Settings

BEST_FIGURES = ("loss", "perplexity", "bits_per_byte")

_METRIC = re.compile(r"val/(?:(?P<domain>[^/\s]+)/)?(?P<figure>[^/\s]+)")


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
    """The held-out figure, lower being better, that decides which checkpoint is the best: loss,
    perplexity or bits_per_byte, as val/perplexity (of all domains' text as one: loss and perplexity
    weigh domains by their tokens, bits_per_byte by their bytes) or val/math/perplexity."""
    background: bool = True
    """Write from a copy in memory while the training goes on; false: the training waits."""

    @property
    def best_domain(self) -> str | None:
        """The domain that alone decides the best, or None when all do."""
        match = _METRIC.fullmatch(self.best)
        return match["domain"] if match else None

    @field_validator("best")
    @classmethod
    def _best_is_a_held_out_figure(cls, best: str) -> str:
        match = _METRIC.fullmatch(best)
        if match and match["figure"] in BEST_FIGURES:
            return best
        last = best.rpartition("/")[2]
        domain = f"{match['domain']}/" if match and match["domain"] else ""
        hint = near_miss(f"val/{domain}{last}", [f"val/{domain}{name}" for name in BEST_FIGURES])
        raise ValueError(
            f"no checkpoint can be the best by {best!r}: wanted val/<figure> or "
            f"val/<domain>/<figure>, with one of {', '.join(BEST_FIGURES)}"
            + (f"; {hint}" if hint else "")
        )
