"""Settings of evaluation."""

from __future__ import annotations

from pydantic import Field

from yxanul.base.settings import Settings


class EvalSettings(Settings):
    """How held-out text is scored, during training and at a gate."""

    every_steps: int = Field(default=200, gt=0)
    """Steps between two evaluations during a stage."""
    max_tokens: int | None = Field(default=16_384, gt=0)
    """Held-out tokens a domain during training; a gate scores them all."""
    seq_len: int | None = Field(default=None, gt=0)
    """Longest context; absent: the longest the model was trained with."""
    stride: int | None = Field(default=None, gt=0)
    """Tokens scored in a full window; absent: half of seq_len. The rest is context."""
    sample_prompts: tuple[str, ...] = ()
    """Prompts that are continued at each evaluation; written to samples/."""
    sample_tokens: int = Field(default=120, gt=0)
    """Tokens in such a sample."""
