"""The state of a run while it trains, as a few figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from yxanul.base.metric_names import matching
from yxanul.report.curves import label_of, spans_of
from yxanul.report.facts import RunReader
from yxanul.report.metrics_file import MetricsFile

RECENT_STEPS, CURVE_POINTS, LAST_ALERTS = 20, 400, 3


def live_facts(reader: RunReader) -> dict[str, Any]:
    """Return where a run stands: stage, phase, loss, held-out scores, speed, time left, alerts."""
    status, stages = reader.status()
    metrics = reader.update()
    last, losses = metrics.clock().last, metrics.series("train/loss")[1]
    speed = _recent(metrics, "perf/tokens_per_second")
    stage = stages[-1] if stages else None
    step = int(last.get("step", 0))
    done = max(0, step - stage["first_step"]) if stage else 0
    share = min(1.0, done / stage["steps"]) if stage and stage["steps"] else 0.0
    left = None
    if stage and speed and status["status"] == "running":
        left = (stage["tokens"] or 0) * (1 - share) / speed
    spans = spans_of(metrics, stages)
    held_out = matching("val/*/bits_per_byte", metrics.names)
    return {
        "name": reader.run.name,
        **status,
        "stage": stage["name"] if stage else None,
        "stage_number": len(stages),
        "stage_step": done,
        "stage_steps": stage["steps"] if stage else None,
        "share": share,
        "phase": spans[-1]["phase"] + 1 if spans else None,
        "seq_len": spans[-1]["seq_len"] if spans else None,
        "step": step,
        "tokens": last.get("tokens", 0),
        "seconds": last.get("seconds", 0.0),
        "seconds_left": left,
        "loss": _recent(metrics, "train/loss"),
        "losses": _thinned(losses),
        "held_out": {label_of(name): float(metrics.series(name)[1][-1]) for name in held_out},
        "tokens_per_second": speed,
        "mfu": _recent(metrics, "perf/mfu"),
        "memory_gib": _recent(metrics, "memory/allocated_gb"),
        "alerts": [
            {key: alert.get(key, "") for key in ("step", "seen", "advice")}
            for alert in metrics.alerts[-LAST_ALERTS:]
        ],
    }


def _recent(metrics: MetricsFile, name: str) -> float | None:
    """Return the median of a metric's last records."""
    values = metrics.series(name)[1][-RECENT_STEPS:]
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None


def _thinned(losses: np.ndarray[Any, Any]) -> list[float]:
    finite = losses[np.isfinite(losses)]
    parts = np.array_split(finite, min(len(finite), CURVE_POINTS)) if len(finite) else []
    return [float(np.median(part)) for part in parts]
