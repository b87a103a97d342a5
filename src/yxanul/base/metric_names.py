"""Metric names, such as `val/stories/bits_per_byte` and `task/blimp/accuracy`, and whether lower is
better.

The ledger, gates and the best checkpoint use these names; each kind of metric is one row here.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from yxanul.base.errors import did_you_mean

LOWER_IS_BETTER = {
    "val/loss": True,
    "val/perplexity": True,
    "val/bits_per_byte": True,
    "val/accuracy": False,
    "val/loss_variance": True,
    "val/*/loss": True,
    "val/*/perplexity": True,
    "val/*/bits_per_byte": True,
    "val/*/accuracy": False,
    "val/*/surprise_ratio": True,
    "task/*/accuracy": False,
    "task/*/accuracy_norm": False,
    "task/*/perplexity": True,
    "task/*/word_perplexity": True,
    "task/*/byte_perplexity": True,
    "task/*/bits_per_byte": True,
    "task/*/exact_match": False,
    "task/*/exact_match_original": False,
    "task/*/exact_match_strict": False,
    "task/*/exact_match_flexible": False,
    "task/*/pass@1": False,
}
"""Metrics that can be compared; * matches a domain or a task."""


def check_metric(metric: str) -> str:
    """Return a metric's name, which may contain a *; raise ValueError if it is unknown."""
    if _row(metric) is None:
        word = domain_of(metric) or task_of(metric)
        known = [name.replace("*", word) if word else name for name in LOWER_IS_BETTER]
        hint = did_you_mean(metric, known) or f"expected one of {', '.join(LOWER_IS_BETTER)}"
        raise ValueError(f"unknown metric {metric!r}; {hint}")
    return metric


def is_better(metric: str, value: float, than: float) -> bool:
    """Return whether one value of a metric is better than another."""
    row = _row(metric)
    return row is not None and (value < than if LOWER_IS_BETTER[row] else value > than)


def domain_of(metric: str) -> str | None:
    """Return the domain in `val/<domain>/<metric>`; None for metrics of no single domain."""
    kind, *rest = metric.split("/")
    return rest[0] if kind == "val" and len(rest) == 2 else None


def task_of(metric: str) -> str | None:
    """Return the task in `task/<task>/<metric>`; None for other metrics."""
    kind, *rest = metric.split("/")
    return rest[0] if kind == "task" and len(rest) == 2 else None


def matching(pattern: str, names: Collection[str]) -> list[str]:
    """Return the names that match a pattern; each * matches any word without a slash."""
    word = re.escape(pattern).replace(r"\*", r"[^/\s]+")
    return [name for name in names if re.fullmatch(word, name)]


def _row(metric: str) -> str | None:
    return next((row for row in LOWER_IS_BETTER if matching(row, [metric])), None)
