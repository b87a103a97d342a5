"""A score: the loss on one text or domain, in every unit people compare."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from yxanul.base.figures import perplexity


@dataclass(frozen=True)
class Score:
    """The loss of a model on a text, each of whose tokens was scored once."""

    loss: float
    """Nats a token."""
    tokens: int
    """Tokens scored, the end of text of each document among them."""
    bytes: int
    """UTF-8 bytes of the text, without any end of text."""

    @classmethod
    def pooled(cls, scores: Iterable[Score]) -> Score:
        """Return the score of several texts as one: each token counts once."""
        parts = list(scores)
        tokens = sum(one.tokens for one in parts)
        nats = sum(one.loss * one.tokens for one in parts)
        return cls(nats / tokens, tokens, sum(one.bytes for one in parts))

    @property
    def perplexity(self) -> float:
        """exp(loss); infinite where that overflows."""
        return perplexity(self.loss)

    @property
    def bits_per_byte(self) -> float:
        """Bits a byte: comparable between tokenizers, and with compressors."""
        return self.loss * self.tokens / math.log(2) / self.bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the figures under their public names."""
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
    """Return the figures of each domain, and of all as one text (val/loss is the mean over tokens,
    val/perplexity its exp), under the names of metrics."""
    by_name = {"val": Score.pooled(scores.values())} if scores else {}
    by_name |= {f"val/{domain}": score for domain, score in scores.items()}
    return {
        f"{name}/{figure}": getattr(score, figure)
        for name, score in by_name.items()
        for figure in ("loss", "perplexity", "bits_per_byte")
    }
