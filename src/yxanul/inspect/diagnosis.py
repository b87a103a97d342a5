"""Diagnosis of a run: the alert rules applied to its metrics.jsonl."""

from __future__ import annotations

from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.alerts import AlertMonitor
from yxanul.monitor.config import MonitorSettings
from yxanul.monitor.trackers.jsonl import read_metrics
from yxanul.recipe import load_recipe
from yxanul.recipe.advice import advice_values
from yxanul.stages.ledger import Ledger


def diagnose(run: RunFolder) -> dict[str, Any]:
    """Apply the alert rules to a run's metrics, whatever alerts its recipe has switched off.

    Return the updates in the metrics, the alerts, and the rules of gates that do not hold, by
    stage, as JSON data; raise YxanulError if the run has no metrics.
    """
    run.check_exists()
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
        alerts += [one.of_run(run.path).to_dict() for one in monitor.check(step, metrics)]
    failed = {
        entry.name: list(map(str, entry.verdict.failures))
        for entry in Ledger.open(run.ledger).entries
        if entry.status == "failed" and entry.verdict is not None
    }
    return {"run": str(run.path), "steps": steps, "alerts": alerts, "failed_gates": failed}
