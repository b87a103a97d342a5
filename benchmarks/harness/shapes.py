"""Shapes that are benchmarked, by name: one table for training, one for generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yxanul.model.config import ModelSettings


@dataclass(frozen=True)
class Shape:
    """A model, and how much of it a step sees."""

    model: dict[str, Any]
    """Fields of `ModelSettings`; a preset counts."""
    seq_len: int
    tokens: int
    """Tokens a step."""
    family: str = "llama"
    """llama, or gemma3: which class of `transformers` it is."""
    purpose: str = "cpu"
    """Where it is meant to run (what `--shapes` is by default), or who else it is for."""
    settings: ModelSettings = field(init=False)

    def __post_init__(self) -> None:
        settings = ModelSettings.model_validate(self.model).resolved(None)
        object.__setattr__(self, "settings", settings)

    @property
    def kind(self) -> str:
        """What a contender has to be able to do: llama, factorised or gemma3."""
        return "factorised" if self.settings.embedding_rank else self.family


def _llama(depth: int, width: int, heads: int, kv_heads: int, **more: Any) -> dict[str, Any]:
    sizes = {"depth": depth, "width": width, "num_heads": heads, "num_kv_heads": kv_heads}
    return {**sizes, "max_seq_len": 4096, **more}


_DEEP = _llama(28, 768, 12, 2, ffn_width=2048, vocab_size=50257)
_SMALL = _llama(6, 256, 4, 2, ffn_width=704, vocab_size=8192)
_MEDIUM = _llama(16, 512, 8, 4, ffn_width=1408, vocab_size=8192)
_TINY = _llama(2, 64, 4, 2, ffn_width=96, vocab_size=256)
_WIDE_VOCAB = _llama(4, 768, 12, 2, ffn_width=2048, vocab_size=50257)

STEP_SHAPES: dict[str, Shape] = {
    "small": Shape(_SMALL, 256, 4096),
    "wide-vocab": Shape(_WIDE_VOCAB, 256, 4096),
    "tiny": Shape(_TINY, 32, 128, purpose="test"),
    "tiny-factorised": Shape(
        {**_TINY, "embedding_rank": 16, "head": "folded"}, 32, 128, purpose="test"
    ),
    # For the whole trainer (trainer.py): the preset that recipes start from, and one of 51M.
    "micro": Shape({"preset": "micro", "vocab_size": 4096}, 256, 2048, purpose="trainer"),
    "51m": Shape(_MEDIUM, 256, 2048, purpose="trainer"),
    "nano": Shape({"preset": "nano", "vocab_size": 320}, 32, 128, purpose="test"),
    # Factorised embedding, folded head: only a contender that has one can take part.
    "yxanul-177m": Shape({"preset": "yxanul-177m"}, 2048, 16384, purpose="cuda"),
    # The same blocks with a plain tied head: every contender can.
    "28x768-50k": Shape(_DEEP, 2048, 16384, purpose="cuda"),
    "big-vocab": Shape({"preset": "yxanul-197m"}, 2048, 16384, purpose="cuda"),
    "gemma3-270m": Shape({"preset": "gemma3-270m"}, 2048, 16384, "gemma3", purpose="cuda"),
    "tiny-gemma3": Shape(
        {
            "preset": "gemma3-270m",
            "depth": 6,
            "width": 64,
            "head_width": 32,
            "query_scale": 32**-0.5,
            "ffn_width": 96,
            "window": 16,
            "vocab_size": 256,
            "max_seq_len": 256,
        },
        64,
        128,
        "gemma3",
        purpose="test",
    ),
}
"""For the training step. Heads are tied unless the shape says otherwise."""

# A tied head with random weights says the last token again: with a head of its own the tokens
# vary, and agreement means something.
DECODE_SHAPES: dict[str, Shape] = {
    "small": Shape({**_SMALL, "head": "untied"}, 256, 4096),
    "wide-vocab": Shape({**_WIDE_VOCAB, "head": "untied"}, 256, 4096),
    "tiny": Shape({**_TINY, "head": "untied"}, 32, 128, purpose="test"),
    "28x768-50k": Shape({**_DEEP, "head": "untied"}, 2048, 16384, purpose="cuda"),
}
"""For generation."""


def shape_of(job: Mapping[str, Any]) -> Shape:
    """Return the shape of a contender's job."""
    return (DECODE_SHAPES if job["work"] == "decode" else STEP_SHAPES)[job["shape"]]


def default_shapes(table: Mapping[str, Shape], device: str) -> list[str]:
    """Return the shapes meant for a device."""
    return [name for name, shape in table.items() if shape.purpose == device]
