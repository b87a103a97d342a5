"""The state of a run while it trains, as a few figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from yxanul.base.metric_names import matching
from yxanul.report.curves import label_of, spans_of
from yxanul.report.facts import RunReader
from yxanul.report.files import MetricsFile

RECENT_STEPS, CURVE_POINTS, LAST_ALERTS = 20, 400, 3


def live_facts(reader: RunReader) -> dict[str, Any]:
    """Return where a run stands: stage, phase, loss, held-out scores, speed, time left, alerts."""
    status, stages = reader.status()
    metrics = reader.update()
    last, losses = metrics.clock().last, metrics.series("train/loss")[1]
    stage, step = stages[-1] if stages else {}, int(last["step"])
    done = max(0, step - stage["first_step"]) if stage else 0
    share = min(1.0, done / stage["steps"]) if stage.get("steps") else 0.0
    is_training = done and status["status"] == "running"
    spans = spans_of(metrics, stages)
    span = spans[-1] if spans else {}
    held_out = matching("val/*/bits_per_byte", metrics.names)
    return {
        "name": reader.run.name,
        **status,
        "stage": stage.get("name"),
        "stage_number": len(stages),
        "stage_step": done,
        "stage_steps": stage.get("steps"),
        "share": share,
        "phase": span.get("phase"),
        "seq_len": span.get("seq_len"),
        "step": step,
        "tokens": last["tokens"],
        "seconds": last["seconds"],
        "seconds_left": _recent(metrics, "perf/seconds_left", 1) if is_training else None,
        "loss": _recent(metrics, "train/loss"),
        "losses": _thinned(losses),
        "held_out": {label_of(name): float(metrics.series(name)[1][-1]) for name in held_out},
        "tokens_per_second": _recent(metrics, "perf/tokens_per_second"),
        "mfu": _recent(metrics, "perf/mfu"),
        "memory_gib": _recent(metrics, "memory/allocated_gb"),
        "alerts": [
            {key: alert.get(key, "") for key in ("step", "seen", "advice")}
            for alert in metrics.alerts[-LAST_ALERTS:]
        ],
    }


def _recent(metrics: MetricsFile, name: str, count: int = RECENT_STEPS) -> float | None:
    """Return the median of a metric's last records."""
    values = metrics.series(name)[1][-count:]
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None


def _thinned(losses: np.ndarray[Any, Any]) -> list[float]:
    finite = losses[np.isfinite(losses)]
    parts = np.array_split(finite, min(len(finite), CURVE_POINTS)) if len(finite) else []
    return [float(np.median(part)) for part in parts]
