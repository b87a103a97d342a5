"""Results of tasks: of evaluations during training, and of `yxanul eval` after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yxanul.report.files import read_mapping

_NO_METRIC = ("documents", "chance", "groups")


def tasks_of(evaluations: Path, stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each task and metric; a later result replaces an earlier one.

    Results of whole evaluations have errors and chance; those of gates have the value alone.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for stage in stages:
        for name, value in stage["metrics"].items():
            kind, *middle, metric = name.split("/")
            if kind == "task" and middle and isinstance(value, int | float):
                task = "/".join(middle)
                rows[task, metric] = {"task": task, "metric": metric, "value": value}
    for path in sorted(evaluations.glob("*.json")):
        for row in _of_evaluation(read_mapping(path)):
            rows[row["task"], row["metric"]] = row
    return list(rows.values())


def _of_evaluation(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a result as `yxanul eval --json` writes it."""
    tasks = result.get("tasks")
    for task, facts in tasks.items() if isinstance(tasks, dict) else ():
        metrics = [n for n in facts if n not in _NO_METRIC and not n.endswith("stderr")]
        for number, metric in enumerate(metrics):
            yield {
                "task": task,
                "metric": metric,
                "value": facts[metric],
                "stderr": facts.get(f"{metric}_stderr" if number else "stderr"),
                "chance": facts.get("chance") if metric != "perplexity" else None,
                "documents": facts.get("documents"),
                "step": result.get("step"),
            }
