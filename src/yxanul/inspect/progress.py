"""Progress of a run, and whether a process is working on it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yxanul.base.files import is_locked
from yxanul.base.run_folder import RunFolder
from yxanul.stages.ledger import Entry

TAIL_BYTES = 64_000
"""Number of bytes read from the end of the metrics file: about fifty steps."""
_STEP_KEYS = {"step", "train/loss", "perf/total_step_time", "data/actual_tokens"}


def progress_of(run: RunFolder, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the stage, its step, the last loss, speed and time left; None: not known yet."""
    alive, entry = is_locked(run.path), entries[-1] if entries else None
    last = last_steps(run.metrics)
    step = last[-1]["step"] if last else 0
    done = max(0, step - entry.first_step) if entry else 0
    seconds = sum(line["perf/total_step_time"] for line in last)
    speed = sum(line["data/actual_tokens"] for line in last) / seconds if seconds else None
    status = entry.status if entry else "not begun"
    status = "stopped" if status == "running" and not alive else status
    is_training = done and status == "running"
    return {
        "alive": alive,
        "process": _owner(run.path) if alive else None,
        "status": status,
        "stage": entry.name if entry else None,
        "step": step,
        "stage_step": done,
        "stage_steps": entry.steps if entry else None,
        "loss": last[-1]["train/loss"] if last else None,
        "alerts": num_alerts(run.metrics),
        "tokens_per_second": speed,
        "seconds_left": last[-1].get("perf/seconds_left") if is_training else None,
    }


def last_steps(metrics: Path) -> list[dict[str, Any]]:
    """Return the last training steps in the metrics file, without a partial last line."""
    if not metrics.is_file():
        return []
    with open(metrics, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        *lines, _ = file.read().split(b"\n")
        if file.tell() > TAIL_BYTES:
            del lines[:1]
    records = (_record(line) for line in lines)
    return [record for record in records if record.keys() >= _STEP_KEYS]


def num_alerts(metrics: Path) -> int:
    """Return the number of alerts in the metrics file."""
    if not metrics.is_file():
        return 0
    with open(metrics, "rb") as lines:
        return sum(b', "alert": {' in line for line in lines)


def _record(line: bytes) -> dict[str, Any]:
    """Parse a line of the metrics; return {} if it is corrupt, as after a system crash."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _owner(folder: Path) -> int | None:
    text = (folder / ".lock").read_text().strip()
    return int(text) if text.isdecimal() else None
