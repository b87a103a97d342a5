"""Settings of evaluation."""

from __future__ import annotations

from pydantic import Field, field_validator

from yxanul.base.errors import near_miss
from yxanul.base.settings import Misfit, Settings

# The names of text/benchmarks.py, which is too heavy to be read with a recipe.
BENCHMARK_NAMES = ("gsm8k", "hellaswag", "humaneval", "triviaqa")


class BenchmarkSettings(Settings):
    """Where the test set of a benchmark is."""

    path: str | None = Field(default=None, min_length=1)
    """Its test set in a file (jsonl or parquet); left out: from the hub."""


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
    benchmarks: dict[str, BenchmarkSettings] = Field(default={})
    """Benchmarks, by name; documents that hold a piece of their test sets are not trained on."""

    @field_validator("benchmarks")
    @classmethod
    def _benchmarks_are_known(
        cls, benchmarks: dict[str, BenchmarkSettings]
    ) -> dict[str, BenchmarkSettings]:
        for name in benchmarks:
            if name not in BENCHMARK_NAMES:
                hint = near_miss(name, BENCHMARK_NAMES)
                raise Misfit(
                    f"unknown benchmark '{name}'; wanted one of {', '.join(BENCHMARK_NAMES)}"
                    + (f"; {hint}" if hint else ""),
                    name,
                )
        return benchmarks
