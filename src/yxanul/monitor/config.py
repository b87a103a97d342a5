"""Settings for monitoring."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt, field_validator

from yxanul.base.settings import Settings

TrackerName = Literal["jsonl", "tensorboard", "wandb"]


class Cadences(Settings):
    """Steps from one record of a group of metrics to the next; null: never (docs/metrics.md)."""

    gradients: PositiveInt | None = 10
    """Mean, deviation, extremes and zeros of all gradients, and the gradient noise scale."""
    confidence: PositiveInt | None = 20
    """Accuracy, entropy and logits on a sample of the step's positions."""
    weights: PositiveInt | None = 100
    """Weights, update ratios and gradient norms by group; the update needs a copy of the
    weights."""
    activations: PositiveInt | None = 500
    """Activations and dead neurons of every layer."""
    attention: PositiveInt | None = 500
    """Entropy and largest score of every layer's attention."""
    histograms: PositiveInt | None = 500
    """Histograms of weights, gradients and confidence, for trackers that show them."""


class MonitorSettings(Settings):
    """Metric trackers and alerts."""

    trackers: tuple[TrackerName, ...] = ("jsonl",)
    """Where metrics are logged; jsonl is metrics.jsonl in the run folder."""
    every: Cadences = Cadences()
    """Steps between the records of metrics that cost time."""
    alerts: bool = True
    """Warn about gradients and losses that look wrong."""

    @property
    def cadences(self) -> Cadences:
        """The cadences; without histograms if no tracker shows them."""
        shown = set(self.trackers) - {"jsonl"}
        return self.every if shown else self.every.model_copy(update={"histograms": None})

    @field_validator("trackers")
    @classmethod
    def _check(cls, trackers: tuple[TrackerName, ...]) -> tuple[TrackerName, ...]:
        if len(set(trackers)) < len(trackers):
            raise ValueError(f"list each tracker only once, got {', '.join(trackers)}")
        return trackers
