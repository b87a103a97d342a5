"""Curves for the page: which metrics are drawn together, and how many points they keep."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from yxanul.base.metric_names import matching
from yxanul.report.files import Clock, MetricsFile

HEAT_MAP_COLUMNS, OTHER_POINTS, MOST_OTHERS = 100, 100, 60
_LAYERED = re.compile(r"(?P<kind>(?!val/|task/|mix/).+?)/(?P<layer>\d+)(?:/(?P<rest>.+))?")
_BY_GROUP = re.compile(r"([^/]+)/[^/]+(/[^/]+)")
"""Metrics of a group of weights or the like, which share a chart: weights/first/std."""


@dataclass(frozen=True)
class Chart:
    """Metrics that share a picture."""

    title: str
    unit: str
    metrics: tuple[str, ...]
    """Names, or patterns with *; of several alternatives the first that the run has."""
    noisy: bool = False
    """Whether one step says little: drawn with its range and a running median."""
    log: bool = False
    """Whether a logarithmic axis may suit it."""
    percent: bool = False
    together: bool = False
    """Whether all metrics are drawn, rather than the first alternative."""
    compared: str | None = None
    """The one metric that is drawn where runs are compared; None: the same as of one run."""


CHARTS = (
    Chart("Training loss", "nats per token", ("train/loss",), noisy=True, log=True),
    Chart(
        "Held-out text",
        "bits per byte",
        ("val/*/bits_per_byte", "val/bits_per_byte"),
        log=True,
    ),
    Chart(
        "Learning rate",
        "",
        ("optim/learning_rate/*", "optim/learning_rate"),
        compared="optim/learning_rate",
    ),
    Chart(
        "Gradient norm",
        "before clipping",
        ("optim/gradient_norm",),
        noisy=True,
        log=True,
    ),
    Chart("Clipped updates", "% of the last 100", ("optim/clip_rate",), percent=True),
    Chart("Gradient norm by group", "", ("gradient_norm/*",), log=True),
    Chart("Update by group", "relative to the weights", ("update_ratio/*",), log=True),
    Chart("Accuracy while training", "% of a sample of tokens", ("train/accuracy",), percent=True),
    Chart("Speed", "tokens/s", ("perf/tokens_per_second",), noisy=True),
    Chart("Model FLOPs utilisation", "% of peak", ("perf/mfu",), noisy=True, percent=True),
    Chart(
        "Where a step's time goes",
        "seconds",
        (
            "perf/data_time",
            "perf/forward_time",
            "perf/backward_time",
            "perf/optimizer_time",
            "perf/metrics_time",
        ),
        together=True,
        compared="perf/total_step_time",
    ),
    Chart(
        "Memory",
        "GiB",
        ("memory/allocated_gb", "memory/max_allocated_gb"),
        together=True,
        compared="memory/max_allocated_gb",
    ),
    Chart("Tasks", "% right", ("task/*/accuracy",), percent=True),
)
"""The pictures of every report, in their order."""

DERIVED = (
    "train/perplexity", "train/loss_median", "train/loss_std", "train/loss_outlier",
    "val/*/perplexity", "val/perplexity", "val/*/loss", "val/bits_per_byte",
    "optim/gradient_norm_after_clip", "optim/skipped*",
    "task/*/*_stderr", "perf/samples_per_second", "memory/reserved_gb",
    "data/actual_tokens", "data/tokens_seen", "data/batch_size", "data/chinchilla_multiple",
    "curriculum/*", "epoch/*", "perf/seconds_left",
)  # fmt: skip
"""Metrics that say what a drawn one says already."""


def chart_list(
    names: Sequence[str], compared: bool = False, charts: Sequence[Chart] = CHARTS
) -> list[dict[str, Any]]:
    """Return the charts that some of these metrics fill, each with its metrics and their labels;
    with `compared`, those for several runs."""
    names = [name for name in names if not _LAYERED.fullmatch(name)]
    filled = []
    for chart in charts:
        patterns = (chart.compared,) if compared and chart.compared else chart.metrics
        found = [matching(pattern, names) for pattern in patterns]
        some = list(chain(*found)) if chart.together else next(filter(None, found), [])
        if some:
            flags = {flag: getattr(chart, flag) for flag in ("noisy", "log", "percent")}
            series = [{"name": name, "label": label_of(name)} for name in some]
            filled.append({"title": chart.title, "unit": chart.unit, **flags, "series": series})
    return filled


def other_charts(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return charts for metrics that no row of CHARTS has; those by group share one."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_BY_GROUP.sub(r"\1/*\2", name)].append(name)
    return [
        {"title": title, "unit": "", "series": [{"name": n, "label": label_of(n)} for n in some]}
        for title, some in groups.items()
    ]


def label_of(name: str) -> str:
    """Return the part of a metric's name that tells it from the others of its chart."""
    for group in ("optim/learning_rate/", "mix/"):
        if name.startswith(group):
            return name.removeprefix(group)
    if match := re.fullmatch(r"[^/]+/(.+)/[^/]+", name):
        return match[1]
    return re.sub(r"_(time|gb)$", "", name.partition("/")[2] or name).replace("_", " ")


def curves_of(metrics: MetricsFile, points: int) -> dict[str, Any]:
    """Return the series of all charts, each of at most `points` points, and their axes."""
    clock, axes = metrics.clock(), _Axes()
    noisy = {name for chart in CHARTS if chart.noisy for name in chart.metrics}
    charts = chart_list(metrics.names) + chart_list(metrics.names, compared=True)
    drawn = dict.fromkeys(one["name"] for chart in charts for one in chart["series"])
    series = {}
    for name in drawn:
        if (one := _thinned(metrics, name, points, clock, axes, name in noisy)) is not None:
            series[name] = one
    derived = {name for pattern in DERIVED for name in matching(pattern, metrics.names)}
    rest = [n for n in metrics.names if n not in {*drawn, *derived} and not _LAYERED.fullmatch(n)]
    others = {}
    for name in rest[:MOST_OTHERS]:
        one = _thinned(metrics, name, min(points, OTHER_POINTS), clock, axes, False)
        if one is not None and len(set(one["y"]) - {None}) > 1:
            others[name] = one
    return {
        "axes": axes.found,
        "series": series,
        "others": others,
        "heat_maps": list(_heat_maps(metrics, min(points, HEAT_MAP_COLUMNS), clock)),
    }


class _Axes:
    """Axes of curves; curves over the same steps share one."""

    def __init__(self) -> None:
        self.found: list[dict[str, list[float]]] = []
        self._numbers: dict[bytes, int] = {}

    def number(self, steps: np.ndarray[Any, Any], clock: Clock) -> int:
        key = steps.tobytes()
        if key not in self._numbers:
            self._numbers[key] = len(self.found)
            self.found.append(clock.at(steps))
        return self._numbers[key]


def _thinned(
    metrics: MetricsFile, name: str, points: int, clock: Clock, axes: _Axes, with_range: bool
) -> dict[str, Any] | None:
    """Return the medians of a metric over equal numbers of its records, and their range."""
    steps, values = metrics.series(name)
    if not np.isfinite(values).any():
        return None
    edges = _edges(len(values), points)
    middle = steps[(edges[:-1] + edges[1:] - 1) // 2]
    thinned: dict[str, Any] = {"axis": axes.number(middle, clock)}
    if len(values) <= points:
        return thinned | {"y": _figures(values.tolist())}
    parts = [part[np.isfinite(part)] for part in np.split(values, edges[1:-1])]
    thinned["y"] = _figures(float(np.median(part)) if len(part) else None for part in parts)
    if with_range:
        thinned["low"] = _figures(float(part.min()) if len(part) else None for part in parts)
        thinned["high"] = _figures(float(part.max()) if len(part) else None for part in parts)
    return thinned


def _edges(count: int, points: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.linspace(0, count, min(points, count) + 1).astype(np.int64)


def _figures(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else float(f"{value:.4g}") for value in values]


def _heat_maps(metrics: MetricsFile, columns: int, clock: Clock) -> Iterable[dict[str, Any]]:
    """Yield a picture of layers x time for each metric that is recorded by layer."""
    groups: dict[str, dict[int, str]] = defaultdict(dict)
    for name in metrics.names:
        if match := _LAYERED.fullmatch(name):
            title = "/".join(filter(None, (match["kind"], match["rest"])))
            groups[title][int(match["layer"])] = name
    for title, layers in groups.items():
        if len(layers) < 2:
            continue
        axes, rows = _Axes(), []
        for _, name in sorted(layers.items()):
            one = _thinned(metrics, name, columns, clock, axes, False)
            rows.append(one["y"] if one else [])
        yield {"title": title, "layers": sorted(layers), "axis": axes.found[:1], "rows": rows}


def spans_of(metrics: MetricsFile, stages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the parts of the run in which the stage and the phase are the same."""
    clock = metrics.clock()
    if not len(clock.steps):
        return []
    starts = np.array([stage["first_step"] for stage in stages] or [0])
    stage_at = np.maximum(0, np.searchsorted(starts, clock.steps, side="left") - 1)
    phases, lengths = (
        _on(clock, *metrics.series(name)) for name in ("curriculum/phase", "data/sequence_length")
    )
    keys = np.stack([stage_at, phases])
    changes = np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(axis=0)) + 1
    begins = np.append(0, changes)
    ends = np.append(changes, len(clock.steps)) - 1
    froms = clock.places(np.append(0, clock.steps[ends[:-1]]))
    tos = clock.places(clock.steps[ends])
    return [
        {
            "stage": stages[int(stage_at[first])]["name"] if stages else "",
            "phase": int(phases[first]),
            "seq_len": int(lengths[first]),
            "from": begin,
            "to": end,
        }
        for first, begin, end in zip(begins, froms, tos, strict=True)
    ]


def _on(clock: Clock, steps: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> Any:
    """Return a metric at every step of the clock, its last value where it has none."""
    if not len(steps):
        return np.zeros(len(clock.steps))
    at = np.clip(np.searchsorted(steps, clock.steps, side="right") - 1, 0, None)
    return np.nan_to_num(values[at])
