"""Settings for text generation. Imports no torch."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from yxanul.base.settings import Settings


class SampleSettings(Settings):
    """Sampling settings: choice of tokens, their number, and stop strings."""

    max_tokens: PositiveInt = 200
    """Maximum number of new tokens per sample."""
    temperature: float = Field(default=0.8, ge=0)
    """Divides the logits; 0 is greedy decoding."""
    top_k: PositiveInt | None = None
    """Keep the k most likely tokens."""
    top_p: float | None = Field(default=None, ge=0, le=1)
    """Keep the most likely tokens until their probabilities reach this sum; at least one."""
    min_p: float | None = Field(default=None, ge=0, le=1)
    """Drop tokens less likely than this share of the most likely token's probability."""
    repetition_penalty: float = Field(default=1.0, ge=0.01)
    """Above 1 makes tokens of the text so far less likely (arXiv 1909.05858)."""
    seed: NonNegativeInt = 0
    """The same seed gives the same text; every sample has its own random stream."""
    num_samples: PositiveInt = 1
    """Samples per prompt, generated as one batch."""
    stop: tuple[str, ...] = ()
    """A sample ends before the first of these strings."""

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if "" in stop:
            raise ValueError("a stop string is empty and would end every sample at once")
        return stop
