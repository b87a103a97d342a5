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
from yxanul.stages.gates import Verdict
from yxanul.stages.ledger import Ledger


@dataclass(frozen=True)
class Diagnosis:
    """What looks wrong in a run, whatever alerts its recipe has switched off."""

    run: Path
    steps: int
    """Updates in the metrics."""
    alerts: list[Alert]
    failed_gates: dict[str, list[str]]
    """Rules that do not hold, by stage."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        alerts = [alert.to_dict() for alert in self.alerts]
        facts = {"run": str(self.run), "steps": self.steps, "alerts": alerts}
        return facts | {"failed_gates": self.failed_gates}


def diagnose(run: RunFolder) -> Diagnosis:
    """Apply the alert rules to a run's metrics; YxanulError if it has none."""
    if not run.metrics.is_file():
        raise YxanulError(f"{run.path} has no {run.metrics.name}", hint="train it first")
    recipe = load_recipe(str(run.recipe))
    monitor = AlertMonitor(MonitorSettings(spikes=recipe.monitor.spikes), run=run.path)
    steps, alerts = 0, []
    for step, metrics in read_metrics(run.metrics):
        stage = int(metrics.get("curriculum/stage", 0))
        if step > steps and stage < len(recipe.stages):
            monitor.advice = advice_values(recipe, stage)
        steps = max(steps, step)
        alerts += monitor.check(step, metrics)
    failed = {
        entry.name: list(map(str, Verdict.from_dict(entry.verdict).failures))
        for entry in Ledger.open(run.ledger).entries
        if entry.status == "failed" and entry.verdict is not None
    }
    return Diagnosis(run.path, steps, alerts, failed)
