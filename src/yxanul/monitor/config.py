"""Settings for monitoring."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, field_validator, model_validator

from yxanul.base.settings import Settings

TrackerName = Literal["jsonl", "tensorboard", "wandb"]


def _without_bool(value: Any) -> Any:
    return "off" if value is False else value


Action = Annotated[Literal["off", "warn", "stop"], BeforeValidator(_without_bool)]
"""What an alert does; YAML reads an unquoted off as false."""
RollbackAction = Annotated[
    Literal["off", "warn", "rollback", "stop"], BeforeValidator(_without_bool)
]
SpikeAction = Annotated[
    Literal["off", "warn", "skip", "rollback", "stop"], BeforeValidator(_without_bool)
]


class AlertSettings(Settings):
    """What each alert does: off; warn (a line and a record); rollback: return to the weights and
    optimizer state of the newest checkpoint from before it; or stop: save the state and end with
    exit code 3; the same command then resumes. docs/alerts.md has the rules."""

    all: Action = "warn"
    """Action of the alerts that are not named."""
    not_finite: RollbackAction | None = None
    """NaN or infinity in a loss or gradient; such an update is always skipped."""
    too_good: Action | None = None
    """A loss that no honest model has so early, or targets equal to the inputs."""
    held_out_in_training: Action | None = None
    """Held-out text in the batches."""
    wrong_tokenizer: Action | None = None
    """Held-out text that the model predicts worse than chance, or that has tiny tokens."""
    duplicated_batches: Action | None = None
    """The same batch several times within an epoch."""
    frozen_group: Action | None = None
    """Weights that updates do not change."""
    gradient_explosion: Action | None = None
    """A gradient above 100."""
    gradient_vanishing: Action | None = None
    """No gradient above 1e-6."""
    gradient_ratio: Action | None = None
    """A first layer that receives no gradient while the last does."""
    dead_units: Action | None = None
    """Dead neurons or rows of weights."""
    attention_entropy: Action | None = None
    """A layer whose attention has collapsed to single tokens."""
    attention_logits: Action | None = None
    """Attention scores above 1,000."""
    output_logits: Action | None = None
    """Output logits that drift."""
    update_ratio: Action | None = None
    """Updates far too large or too small for their weights."""
    loss_spike: SpikeAction | None = None
    """A loss far above the recent ones; skip: do not apply such an update (nor one whose gradient
    norm is far above)."""
    spike_stays: RollbackAction | None = None
    """A loss that has not returned 100 updates after a spike."""
    frequent_spikes: Action | None = None
    """Spikes in more than 0.1 % of 10,000 updates."""
    clip_rate: Action | None = None
    """Updates clipped to a tenth of their norm."""
    plateau: Action | None = None
    """No better median loss for 1,000 updates."""
    train_validation_gap: Action | None = None
    """A held-out loss more than 1 nat above the training loss."""
    starvation: Action | None = None
    """More than 10 % of the time spent waiting for batches."""
    memory_leak: Action | None = None
    """Memory that grows with every update."""
    throughput_fall: Action | None = None
    """Less than 70 % of the run's usual speed."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_bool(cls, value: Any) -> Any:
        if isinstance(value, bool):
            instead = "{}" if value else "{all: off}"
            raise ValueError(f"alerts maps alerts to actions; write {instead} for {value}".lower())
        return value

    def action(self, name: str) -> str:
        """Return what the alert `name` does."""
        return getattr(self, name) or self.all


class SpikeSettings(Settings):
    """When a finite loss counts as a spike."""

    deviations: float = Field(default=6.0, gt=0)
    """Threshold: standard deviations above the mean of the window."""
    window_steps: int = Field(default=128, ge=4)
    """Window length in steps; there are no spikes until a phase has filled half of it."""


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
    alerts: AlertSettings = AlertSettings()
    """What alerts do, by alert."""
    spikes: SpikeSettings = SpikeSettings()
    """When a loss is a spike, for the alert loss_spike."""

    @property
    def skipped_spikes(self) -> SpikeSettings | None:
        """The spikes whose updates are skipped; None: none are."""
        return self.spikes if self.alerts.action("loss_spike") == "skip" else None

    @property
    def rolls_back(self) -> bool:
        """Whether an alert may return to an earlier checkpoint."""
        return "rollback" in self.alerts.model_dump().values()

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
