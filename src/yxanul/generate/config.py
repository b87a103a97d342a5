"""Settings of text generation. Imports no torch."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from yxanul.base.settings import Settings


class SampleSettings(Settings):
    """How tokens are chosen, how many, and where a sample ends."""

    max_tokens: PositiveInt = 200
    """New tokens a sample, at most."""
    temperature: float = Field(default=0.8, ge=0)
    """Divides the scores; 0 always takes the likeliest token."""
    top_k: PositiveInt | None = None
    """Keep the k likeliest tokens."""
    top_p: float | None = Field(default=None, ge=0, le=1)
    """Keep the likeliest tokens until their probabilities reach this sum; always at least one."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """Drop tokens less likely than this share of the likeliest one's probability."""
    repetition_penalty: float = Field(default=1.0, ge=0.01)
    """Above 1 makes tokens that are already there less likely (arXiv 1909.05858)."""
    seed: NonNegativeInt = 0
    """The same seed gives the same text; every sample has a stream of its own."""
    num_samples: PositiveInt = 1
    """Samples of the same prompt, written side by side."""
    stop: tuple[str, ...] = ()
    """A sample ends before the first of these strings."""

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("a stop string is empty, which would end every sample at once")
        return stop
