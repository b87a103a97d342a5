"""Results of tasks: during training, at gates, and of `yxanul eval` after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yxanul.base.figures import finite
from yxanul.report.files import MetricsFile, read_mapping

_NO_METRIC = ("documents", "chance", "groups", "cut_prompts")


def tasks_of(
    metrics: MetricsFile, stages: Sequence[Mapping[str, Any]], evaluations: Path
) -> list[dict[str, Any]]:
    """Return a row for each task and metric: the last evaluation during training, replaced by that
    of a gate, replaced by the results in `evaluations`."""
    during = {name: metrics.series(name) for name in metrics.names if name.startswith("task/")}
    sets: list[tuple[Mapping[str, Any], int | None]] = [
        ({name: float(values[-1])}, int(steps[-1])) for name, (steps, values) in during.items()
    ]
    errors = {name: float(values[-1]) for name, (_, values) in during.items()}
    sets += [(stage["metrics"], stage["first_step"] + stage["steps"]) for stage in stages]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for values, step in sets:
        for row in _of_metrics({**errors, **values}, values, step):
            rows[row["task"], row["metric"]] = row
    for path in sorted(evaluations.glob("*.json")):
        for row in _of_evaluation(read_mapping(path)):
            rows[row["task"], row["metric"]] = row
    return [row for row in rows.values() if finite(row["value"]) is not None]


def _of_metrics(
    known: Mapping[str, Any], values: Mapping[str, Any], step: int | None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of metrics such as task/blimp/accuracy; their errors are metrics, too."""
    for name, value in values.items():
        kind, *middle, metric = name.split("/")
        if kind == "task" and middle and not metric.endswith("_stderr"):
            task = "/".join(middle)
            yield {
                "task": task,
                "metric": metric,
                "value": value,
                "stderr": known.get(f"{name}_stderr"),
                "chance": _chance(task) if metric.startswith("accuracy") else None,
                "step": step,
            }


def _chance(task: str) -> float | None:
    from yxanul.eval.run_tasks import ALL_TASKS

    return ALL_TASKS[task].chance if task in ALL_TASKS else None


def _of_evaluation(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a result as `yxanul eval --json` prints it."""
    tasks, prefix = result.get("tasks"), "core/" if "centered" in result else ""
    for task, facts in tasks.items() if isinstance(tasks, dict) else ():
        metrics = [n for n in facts if n not in _NO_METRIC and not n.endswith("stderr")]
        for number, metric in enumerate(metrics):
            yield {
                "task": f"{prefix}{task}",
                "metric": metric,
                "value": facts[metric],
                "stderr": facts.get(f"{metric}_stderr" if number else "stderr"),
                "chance": facts.get("chance") if metric.startswith("accuracy") else None,
                "documents": facts.get("documents"),
                "step": result.get("step"),
            }
