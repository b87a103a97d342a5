"""Applies the alert rules to the metrics of a run, record by record."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yxanul.monitor.alerts.history import History, Metrics
from yxanul.monitor.alerts.table import ALERTS, TIMED
from yxanul.monitor.batches import BatchWatch
from yxanul.monitor.config import MonitorSettings

QUIET_STEPS = 500
"""Updates after which an alert that has cleared can be raised again."""
CAUSE_STEPS = 100
"""Updates during which an alert silences those that follow from the same cause."""
GENERIC = {
    "lower_lr": "half the optim.peak_lr",
    "higher_lr": "twice the optim.peak_lr",
    "longer_warmup": "twice the warm-up (optim.schedule)",
    "clip": "half the optim.grad_clip",
    "higher_clip": "twice the optim.grad_clip",
    "weight_decay": "twice the optim.weight_decay",
    "larger_init": "twice the model.init_std",
}
"""What advice says where the recipe is not known."""


@dataclass(frozen=True)
class Alert:
    """What looks wrong at a step, why, and what to try."""

    name: str
    step: int
    severity: str
    seen: str
    cause: str
    advice: str
    since: int
    """Step at which it began: that of a spike from which the loss has not returned."""

    def __str__(self) -> str:
        what = f"step {self.step}: {self.name}: {self.seen}"
        return f"{what}; likely {self.cause}; try {self.advice}"

    def of_run(self, path: Path) -> Alert:
        """Return the alert with the run's folder in the commands of its advice."""
        return replace(self, advice=self.advice.replace("RUN", shlex.quote(str(path))))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        return asdict(self)


@dataclass
class _Raised:
    """When an alert last fired, and whether it has cleared since."""

    step: int
    has_cleared: bool = False


class AlertMonitor:
    """Applies the rules to one record after another; its state is saved in checkpoints."""

    def __init__(
        self, settings: MonitorSettings | None = None, held_out: Iterable[np.ndarray] = ()
    ) -> None:
        """Initialize with the ids of held-out documents, which must not appear in batches."""
        self._settings = settings or MonitorSettings()
        alerts = self._settings.alerts
        self._rules = {n: rule for n, rule in ALERTS.items() if alerts.action(n) != "off"}
        self._history = History(self._settings.spikes)
        self._raised: dict[str, _Raised] = {}
        self.batches = BatchWatch(held_out)
        self.advice: Mapping[str, str] = GENERIC
        """Keys and values to paste, made from the recipe's present ones."""

    def check(self, step: int, metrics: Metrics) -> list[Alert]:
        """Return the alerts raised by a record of metrics.

        An alert is raised once, and again only after it has cleared and 500 updates have passed.
        Of several with one cause only the first of the table is raised.
        """
        history = self._history
        history.begin(step, metrics)
        since = step if self.spike_step is None else min(step, self.spike_step)
        alerts = []
        for name, rule in self._rules.items():
            seen, raised = rule.check(metrics, history), self._raised.get(name)
            if seen == "" and raised is not None:
                raised.has_cleared = True
            if not seen or self._is_silenced(name, step):
                continue
            is_old = raised is not None and not (
                raised.has_cleared and step - raised.step > QUIET_STEPS
            )
            self._raised[name] = _Raised(step)
            if not is_old:
                advice = rule.advice.format(**self.advice, step=step)
                alerts.append(Alert(name, step, rule.severity, seen, rule.cause, advice, since))
        history.end(metrics)
        return alerts

    @property
    def spike_step(self) -> int | None:
        """Step of the spike from which the loss has not returned."""
        return self._history.spike and self._history.spike.step

    def _is_silenced(self, name: str, step: int) -> bool:
        return any(
            name in ALERTS[cause].silences and step - raised.step <= CAUSE_STEPS
            for cause, raised in self._raised.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data."""
        raised = {n: vars(one).copy() for n, one in self._raised.items() if n not in TIMED}
        return {
            "history": self._history.to_dict(),
            "raised": raised,
            "batches": self.batches.to_dict(),
        }

    def load(self, plain: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned, so that a resumed run raises the same alerts; the state
        of an older version is ignored."""
        if "history" in plain:
            self._history = History.from_dict(plain["history"], self._settings.spikes)
            self._raised = {name: _Raised(**one) for name, one in plain["raised"].items()}
            self.batches.load(plain["batches"])
