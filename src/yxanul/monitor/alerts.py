"""Alerts: rules over metrics, each with an observation, a likely cause and advice."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from yxanul.base.metric_names import matching
from yxanul.monitor.rolling import Rolling

WINDOW = 50
MIN_LOSSES = 20
SPIKE_STDS = 6.0
PATIENCE_STEPS = 1000
QUIET_STEPS = 200
LARGEST_GRADIENT, SMALLEST_GRADIENT = 100.0, 1e-6
LARGEST_GAP = 1.0
LARGEST_CLIP_RATE = 0.2
SETTLING_STEPS = 200
"""Initial steps without clipping alerts: in them, every healthy run is clipped."""
FINITE = ("train/loss", "optim/gradient_norm", "val/loss", "optim/num_nans", "optim/num_infs")


@dataclass(frozen=True)
class Alert:
    """A warning about the metrics of a step."""

    name: str
    step: int
    seen: str
    cause: str
    advice: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.seen}; likely {self.cause}; try {self.advice}"


@dataclass
class History:
    """Summary of the steps before the current one, for the rules."""

    losses: Rolling = field(default_factory=lambda: Rolling(WINDOW))
    num_steps: int = 0
    best_median: float = math.inf
    best_step: int = 0

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a step, after the rules have checked it."""
        loss = metrics.get("train/loss", math.nan)
        if not math.isfinite(loss):
            return
        self.num_steps += 1
        self.losses.add(loss)
        if len(self.losses) >= MIN_LOSSES and self.losses.median < self.best_median:
            self.best_median, self.best_step = self.losses.median, step


@dataclass(frozen=True)
class AlertRule:
    """Condition and texts of an alert; `check` returns the observation, or None."""

    check: Callable[[int, Mapping[str, float], History], str | None]
    cause: str
    advice: str


def explosion(step: int, metrics: Mapping[str, float], history: History) -> str | None:
    """Check for a gradient above 100."""
    largest = _largest_gradient(metrics)
    return f"a gradient of {largest:.3g}" if LARGEST_GRADIENT < largest < math.inf else None


def vanishing(step: int, metrics: Mapping[str, float], history: History) -> str | None:
    """Check for all gradients being below 1e-6."""
    largest = _largest_gradient(metrics)
    return f"no gradient above {largest:.3g}" if largest < SMALLEST_GRADIENT else None


def not_finite(step: int, metrics: Mapping[str, float], history: History) -> str | None:
    """Check for NaN or infinity."""
    for name in (*FINITE, *matching("val/*/loss", metrics)):
        value = metrics.get(name, 0.0)
        if not math.isfinite(value) or (name.startswith("optim/num_") and value > 0):
            skipped = "" if name.startswith("val/") else ", so the update was skipped"
            return f"{name} is {value:g}{skipped}"
    return None


def gap(step: int, metrics: Mapping[str, float], history: History) -> str | None:
    """Check for a validation loss far above the mean of the last training losses."""
    difference = metrics.get("val/loss", math.nan) - history.losses.mean
    if not difference > LARGEST_GAP:
        return None
    return f"the validation loss is {difference:.2f} nats above the training loss"


def no_improvement(step: int, metrics: Mapping[str, float], history: History) -> str | None:
    """Check for a median training loss without a new minimum for 1,000 steps."""
    waited = step - history.best_step
    if not math.isfinite(history.best_median) or waited < PATIENCE_STEPS:
        return None
    return f"no training loss below {history.best_median:.4f} in {waited:,} steps"


def clipping(step: int, metrics: Mapping[str, float], history: History) -> str | None:
    """Check for more than a fifth of the updates being clipped."""
    rate = metrics.get("optim/clip_rate", 0.0)
    if history.num_steps < SETTLING_STEPS or not rate > LARGEST_CLIP_RATE:
        return None
    return f"{rate:.0%} of the last updates were clipped"


def spike(step: int, metrics: Mapping[str, float], history: History) -> str | None:
    """Check for a loss far above those of the last 50 steps."""
    loss = metrics.get("train/loss", math.nan)
    limit = history.losses.median + SPIKE_STDS * history.losses.std
    if len(history.losses) < MIN_LOSSES or not limit < loss < math.inf:
        return None
    return f"a loss of {loss:.3f}, after a median of {history.losses.median:.3f}"


ALERTS: dict[str, AlertRule] = {
    "gradient_explosion": AlertRule(
        explosion,
        "a learning rate that is too high, or a broken batch",
        "a lower optim.peak_lr, a longer warm-up, or a smaller clip",
    ),
    "gradient_vanishing": AlertRule(
        vanishing,
        "parameters disconnected from the loss, or saturated units",
        "a check of frozen or dead layers, and a larger init_std",
    ),
    "not_finite": AlertRule(
        not_finite,
        "a learning rate that is too high, or overflow in low precision",
        "a lower optim.peak_lr, or train.precision=fp32",
    ),
    "train_validation_gap": AlertRule(
        gap,
        "overfitting: too many epochs over too little text",
        "more text, fewer epochs, or more weight_decay",
    ),
    "no_improvement": AlertRule(
        no_improvement,
        "a learning rate that is too high or too low, or a model at capacity",
        "another optim.peak_lr, a decaying schedule, or a larger model",
    ),
    "clip_rate": AlertRule(
        clipping,
        "a clip below the usual gradient norm, or a learning rate that is too high",
        "a larger optim.grad_clip, or a lower optim.peak_lr",
    ),
    "loss_spike": AlertRule(
        spike,
        "a batch of unusual text, or a learning rate at the edge of stability",
        "a look at the data around this step, a smaller clip, or a lower optim.peak_lr",
    ),
}
"""Alert rules by name."""


class AlertMonitor:
    """Applies the rules step by step; its state is saved in checkpoints."""

    def __init__(self) -> None:
        self._history = History()
        self._last_seen: dict[str, int] = {}

    def reset(self) -> None:
        """Clear the history: the next steps are not comparable with it."""
        self._history, self._last_seen = History(), {}

    def look(self, step: int, metrics: Mapping[str, float]) -> list[Alert]:
        """Return the alerts raised by the metrics of `step`.

        A rule that keeps firing raises one alert; it can raise another after 200 quiet steps.
        """
        raised = []
        for name, rule in ALERTS.items():
            seen = rule.check(step, metrics, self._history)
            if seen is None:
                continue
            last = self._last_seen.get(name)
            self._last_seen[name] = step
            if last is None or step - last > QUIET_STEPS:
                raised.append(Alert(name, step, seen, rule.cause, rule.advice))
        self._history.add(step, metrics)
        return raised

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data."""
        history = self._history
        return {
            "losses": history.losses.to_list(),
            "num_steps": history.num_steps,
            "best_median": history.best_median,
            "best_step": history.best_step,
            "last_seen": dict(self._last_seen),
        }

    def load(self, plain: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned, so that a resumed run raises the same alerts."""
        self._history = History(
            Rolling(WINDOW, plain["losses"]),
            plain["num_steps"],
            plain["best_median"],
            plain["best_step"],
        )
        self._last_seen = dict(plain["last_seen"])


def _largest_gradient(metrics: Mapping[str, float]) -> float:
    """Return the largest gradient if it was logged, else the norm, which is an upper bound."""
    largest = metrics.get("optim/gradient_max", metrics.get("optim/gradient_norm", math.nan))
    smallest = metrics.get("optim/gradient_min", 0.0)
    return max(abs(largest), abs(smallest))
