"""Diagnosis of a run: the alert rules applied to its metrics.jsonl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.alerts import Alert, AlertMonitor
from yxanul.monitor.config import MonitorSettings
from yxanul.monitor.trackers.jsonl import read_metrics
from yxanul.recipe import load_recipe
from yxanul.recipe.advice import advice_values


@dataclass(frozen=True)
class Diagnosis:
    """What looks wrong in a run, whatever alerts its recipe has switched off."""

    run: Path
    steps: int
    """Updates in the metrics."""
    alerts: list[Alert]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        alerts = [alert.to_dict() for alert in self.alerts]
        return {"run": str(self.run), "steps": self.steps, "alerts": alerts}


def diagnose(run: RunFolder) -> Diagnosis:
    """Apply the alert rules to a run's metrics; YxanulError if it has none."""
    if not run.metrics.is_file():
        raise YxanulError(f"{run.path} has no {run.metrics.name}", hint="train it first")
    recipe = load_recipe(str(run.recipe))
    monitor = AlertMonitor(MonitorSettings(spikes=recipe.monitor.spikes))
    steps, alerts = 0, []
    for step, metrics in read_metrics(run.metrics):
        stage = int(metrics.get("curriculum/stage", 0))
        if step > steps and stage < len(recipe.stages):
            monitor.advice = advice_values(recipe, stage)
        steps = max(steps, step)
        alerts += monitor.check(step, metrics)
    return Diagnosis(run.path, steps, alerts)
