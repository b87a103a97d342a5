"""Loss on a text or domain, as nats per token, perplexity and bits per byte."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
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
    accuracy: float | None = None
    """Share of the tokens that no other token is more probable than; None: not measured."""
    num_samples: int | None = None
    """Documents scored."""
    batch_losses: tuple[float, ...] = ()
    """Nats per token of each batch."""

    @classmethod
    def pooled(cls, scores: Iterable[Score]) -> Score:
        """Return the score of several texts as one: the mean over tokens."""
        scores = list(scores)
        tokens = sum(score.tokens for score in scores)
        nats = sum(score.loss * score.tokens for score in scores)
        right = [s.accuracy * s.tokens for s in scores if s.accuracy is not None]
        samples = [s.num_samples for s in scores if s.num_samples is not None]
        return cls(
            loss=nats / tokens,
            tokens=tokens,
            bytes=sum(score.bytes for score in scores),
            accuracy=sum(right) / tokens if len(right) == len(scores) else None,
            num_samples=sum(samples) if len(samples) == len(scores) else None,
            batch_losses=tuple(loss for score in scores for loss in score.batch_losses),
        )

    @property
    def perplexity(self) -> float:
        """exp(loss); infinite on overflow."""
        return perplexity(self.loss)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte: comparable between tokenizers, and with compressors."""
        return self.loss * self.tokens / math.log(2) / self.bytes

    def metrics(self) -> dict[str, float]:
        """Return what was measured, by name; deviations are those of the batches."""
        metrics = {n: getattr(self, n) for n in ("loss", "perplexity", "bits_per_byte")}
        metrics |= {"accuracy": self.accuracy, "num_samples": self.num_samples}
        if self.batch_losses:
            metrics["loss_std"] = _deviation(self.batch_losses)
            metrics["perplexity_std"] = _deviation([perplexity(loss) for loss in self.batch_losses])
        return {name: value for name, value in metrics.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics under their public names, and the size of the text."""
        return self.metrics() | {"tokens": self.tokens, "bytes": self.bytes}


def _deviation(values: Sequence[float]) -> float:
    """Return the population standard deviation; NaN if a value is not finite."""
    return statistics.pstdev(values) if all(map(math.isfinite, values)) else math.nan


def surprise_ratios(
    scores: Mapping[str, Score], beside: Mapping[str, Score] | None = None
) -> dict[str, float]:
    """Return each domain's perplexity divided by the mean of the perplexities of the domains
    `beside`, by default of all.

    The mean is unweighted and leaves out infinite perplexities. A single domain has no ratio.
    """
    if len(scores) < 2:
        return {}
    counted = _counted(beside or scores)
    mean = sum(score.perplexity for score in counted) / len(counted)
    return {name: score.perplexity / mean for name, score in scores.items()}


def loss_variance(scores: Mapping[str, Score]) -> float:
    """Return the population variance of the domains' losses, each domain with the same weight;
    domains of infinite perplexity are left out."""
    losses = [score.loss for score in _counted(scores)]
    mean = sum(losses) / len(losses)
    return sum((loss - mean) ** 2 for loss in losses) / len(losses)


def _counted(scores: Mapping[str, Score]) -> list[Score]:
    """Return the scores without those of infinite perplexity, unless all of them are infinite."""
    every = list(scores.values())
    return [score for score in every if score.perplexity != math.inf] or every


def named(scores: Mapping[str, Score]) -> dict[str, float]:
    """Return the validation metrics of each domain, and of all domains pooled.

    val/loss is the mean over tokens, val/perplexity its exp; a domain of infinite perplexity is
    left out of them, NaN is not. Two or more domains also have a val/<domain>/surprise_ratio each,
    and a val/loss_variance.
    """
    by_name = {"val": Score.pooled(_counted(scores))} if scores else {}
    by_name |= {f"val/{domain}": score for domain, score in scores.items()}
    metrics = {
        f"{name}/{metric}": value
        for name, score in by_name.items()
        for metric, value in score.metrics().items()
    }
    ratios = surprise_ratios(scores)
    metrics |= {f"val/{domain}/surprise_ratio": ratio for domain, ratio in ratios.items()}
    return metrics | ({"val/loss_variance": loss_variance(scores)} if ratios else {})


def mix_metrics(scores: Mapping[str, Score], mix: Mapping[str, float]) -> dict[str, float]:
    """Return the held-out loss of a mix: its domains' losses by their share of its tokens."""
    total = sum(mix.values())
    return {
        "val/mix_loss": sum(
            scores[name].loss * share / total for name, share in mix.items() if share
        ),
        "val/bytes_per_token": sum(score.bytes for score in scores.values())
        / sum(score.tokens for score in scores.values()),
    }
