"""Settings for evaluation."""

from __future__ import annotations

from pydantic import Field

from yxanul.base.settings import Settings


class EvalSettings(Settings):
    """Evaluation on held-out splits, during training and at a gate."""

    every_steps: int = Field(default=200, gt=0)
    """Steps between evaluations."""
    max_tokens: int | None = Field(default=16_384, gt=0)
    """Held-out tokens scored per domain during training; a gate scores all of them."""
    seq_len: int | None = Field(default=None, gt=0)
    """Context length; absent: the longest the model was trained with."""
    stride: int | None = Field(default=None, gt=0)
    """Tokens scored per full window, the rest being context; absent: half of seq_len."""
    task_data: str | None = None
    """Folder with the files of tasks, for `yxanul eval --tasks`; absent: from the hub."""
    sample_prompts: tuple[str, ...] = ()
    """Prompts continued at each evaluation; samples are written to samples/."""
    sample_tokens: int = Field(default=120, gt=0)
    """Tokens per sample."""
