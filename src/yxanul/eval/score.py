"""Loss on a text or domain, as nats per token, perplexity and bits per byte."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from yxanul.base.figures import perplexity


@dataclass(frozen=True)
class Score:
    """Loss of a model on a text, every token scored once."""

    loss: float
    """Nats per token."""
    tokens: int
    """Tokens scored, including the end-of-text token of each document."""
    bytes: int
    """UTF-8 bytes of the text, excluding end-of-text tokens."""

    @classmethod
    def pooled(cls, scores: Iterable[Score]) -> Score:
        """Return the score of several texts as one: the mean over tokens."""
        scores = list(scores)
        tokens = sum(score.tokens for score in scores)
        nats = sum(score.loss * score.tokens for score in scores)
        return cls(nats / tokens, tokens, sum(score.bytes for score in scores))

    @property
    def perplexity(self) -> float:
        """exp(loss); infinite on overflow."""
        return perplexity(self.loss)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte: comparable between tokenizers, and with compressors."""
        return self.loss * self.tokens / math.log(2) / self.bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics under their public names."""
        return {
            "loss": self.loss,
            "perplexity": self.perplexity,
            "bits_per_byte": self.bits_per_byte,
            "tokens": self.tokens,
            "bytes": self.bytes,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Score:
        """Read what `to_dict` returned."""
        return cls(plain["loss"], plain["tokens"], plain["bytes"])


def named(scores: Mapping[str, Score]) -> dict[str, float]:
    """Return the validation metrics of each domain, and of all domains pooled (val/loss is the mean
    over tokens, val/perplexity its exp)."""
    by_name = {"val": Score.pooled(scores.values())} if scores else {}
    by_name |= {f"val/{domain}": score for domain, score in scores.items()}
    return {
        f"{name}/{metric}": getattr(score, metric)
        for name, score in by_name.items()
        for metric in ("loss", "perplexity", "bits_per_byte")
    }
