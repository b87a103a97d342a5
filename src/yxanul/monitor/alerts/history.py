"""What the alert rules know of the updates before the current one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yxanul.monitor.config import SpikeSettings
from yxanul.monitor.loss_history import limit, with_value
from yxanul.monitor.rolling import Rolling

LOSSES, BATCHES, SPIKE_WINDOW = 2000, 50, 10_000
NORMS, DATA_SHARES, MEMORY, SPEEDS = 100, 100, 200, 2000
LASTING_STEPS = 100
Metrics = Mapping[str, float]
PLANNED = (
    "curriculum/stage",
    "curriculum/attempt",
    "curriculum/phase",
    "curriculum/lr_scale",
    "data/batch_size",
    "data/sequence_length",
)
"""Metrics that only the plan changes: when one does, the windows start afresh."""
FACTS = (
    "model/vocab_size",
    "model/from_scratch",
    "data/synthetic",
    "data/epochs",
    "optim/usual_lr",
)
"""Metrics that hold until there is another value."""
RESET = (
    *("num_steps", "highest_lr", "losses", "recent", "norms", "spike", "bad_since"),
    *("data_shares", "waits", "memory", "speeds"),
)
"""What begins afresh after a planned change."""


SAVED = ("step", "num_steps", "planned", "facts", "highest_lr", "bad_since", "first")
SAVED_LISTS = ("losses", "recent", "spikes", "norms", "batches")


@dataclass
class Spike:
    """A loss spike, and the level of the losses before it."""

    step: int
    level: float
    std: float


@dataclass
class History:
    """Windows over the updates since the last planned change, and a few facts about the run."""

    spike_settings: SpikeSettings = field(default_factory=SpikeSettings)
    step: int = 0
    """Updates of the run, including the current one."""
    num_steps: int = 0
    """Updates with a finite loss since the last planned change or rollback, without this one."""
    planned: dict[str, float] = field(default_factory=dict)
    facts: dict[str, float] = field(default_factory=dict)
    losses: Rolling = field(default_factory=lambda: Rolling(LOSSES))
    recent: tuple[float, ...] = ()
    """The last losses, spikes clamped to the limit they exceeded."""
    highest_lr: float = 0.0
    norms: Rolling = field(default_factory=lambda: Rolling(NORMS))
    spike: Spike | None = None
    bad_since: dict[str, int] = field(default_factory=dict)
    """Step of the first of consecutive records beyond a limit, by metric."""
    spikes: list[int] = field(default_factory=list)
    """Steps of the spikes of the last 10,000 updates; those within 100 updates are one."""
    batches: Rolling = field(default_factory=lambda: Rolling(BATCHES))
    """Checksums of the last batches."""
    first: dict[str, float] = field(default_factory=dict)
    """Values that drift is measured from: the first ones, or those of step 500."""
    data_shares: Rolling = field(default_factory=lambda: Rolling(DATA_SHARES))
    waits: Rolling = field(default_factory=lambda: Rolling(DATA_SHARES))
    memory: Rolling = field(default_factory=lambda: Rolling(MEMORY))
    speeds: Rolling = field(default_factory=lambda: Rolling(SPEEDS))

    def begin(self, step: int, metrics: Metrics) -> None:
        """Take note of a record before the rules read it: start afresh after a planned change."""
        self.step = step
        self.facts |= {name: metrics[name] for name in FACTS if name in metrics}
        planned = {name: metrics[name] for name in PLANNED if name in metrics}
        if planned and planned != self.planned:
            self.planned = planned
            self.reset()
        if "train/loss" in metrics and self.has_returned():
            self.spike = None

    def reset(self) -> None:
        """Empty the windows: the next updates are not comparable with the last."""
        fresh = History()
        for name in RESET:
            setattr(self, name, getattr(fresh, name))
        # Entropies of attention depend on the length of rows.
        kept = {n: v for n, v in self.first.items() if not n.startswith("attention_entropy")}
        self.first = kept

    def is_spike(self, loss: float) -> bool:
        """Return whether a finite loss is a spike."""
        return loss > limit(self.recent, self.spike_settings)

    def has_returned(self) -> bool:
        """Return whether the loss is back from a spike: its median, 100 updates later, is within 2
        standard deviations of its level before."""
        spike = self.spike
        if spike is None or self.step < spike.step + LASTING_STEPS:
            return False
        return self.level(BATCHES).median <= spike.level + 2 * spike.std

    def level(self, last: int) -> Rolling:
        """Return the last losses."""
        return Rolling(last, self.losses)

    def end(self, metrics: Metrics) -> None:
        """Add an update, after the rules have read it."""
        loss = metrics.get("train/loss", math.nan)
        if "data/checksum" in metrics:
            self.batches.append(metrics["data/checksum"])
        if not math.isfinite(loss):
            return
        if self.spike is None and self.is_spike(loss):
            last = self.level(BATCHES)
            self.spike = Spike(self.step, last.median, last.std)
            oldest = self.step - SPIKE_WINDOW
            self.spikes = [step for step in self.spikes if step > oldest] + [self.step]
        self.num_steps += 1
        self.losses.append(loss)
        self.recent = with_value(self.recent, loss, self.spike_settings)
        self.highest_lr = max(self.highest_lr, metrics.get("optim/learning_rate", 0.0))
        if total := metrics.get("perf/total_step_time"):
            self.data_shares.append(metrics.get("perf/data_time", 0.0) / total)
        for name, window in (
            ("optim/gradient_norm", self.norms),
            ("perf/data_time", self.waits),
            ("memory/allocated_gb", self.memory),
            ("perf/tokens_per_second", self.speeds),
        ):
            if math.isfinite(value := metrics.get(name, math.nan)):
                window.append(value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, without what is timed: another process has another machine."""
        plain = {name: getattr(self, name) for name in SAVED}
        lists = {name: list(getattr(self, name)) for name in SAVED_LISTS}
        return plain | lists | {"spike": self.spike and vars(self.spike)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], spike_settings: SpikeSettings) -> History:
        """Restore what `to_dict` returned."""
        windows = {
            "losses": Rolling(LOSSES, plain["losses"]),
            "recent": tuple(plain["recent"]),
            "spike": Spike(**plain["spike"]) if plain["spike"] else None,
            "norms": Rolling(NORMS, plain["norms"]),
            "batches": Rolling(BATCHES, plain["batches"]),
        }
        return cls(**{**plain, **windows}, spike_settings=spike_settings)
