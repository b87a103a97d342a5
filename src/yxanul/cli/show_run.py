"""What `yxanul show RUN` says: where a run stands, and whether a process is at work on it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yxanul.base.files import is_locked
from yxanul.base.metric_names import domain_of
from yxanul.base.run_folder import RunFolder
from yxanul.checkpoint.keep import read_best
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.cli.output import format_seconds
from yxanul.stages.ledger import Entry, Ledger

TAIL_BYTES = 64_000
"""The end of the metrics that is read: some fifty steps."""


def show_run(folder: Path) -> tuple[dict[str, Any], str]:
    """Return where a run stands: its progress, stages, verdicts and checkpoints."""
    run = RunFolder(folder)
    ledger = Ledger.open(run.ledger)
    steps, best = checkpoint_steps(run.checkpoints), read_best(folder)
    progress = progress_of(run, ledger.entries)
    facts = {
        "run": str(folder),
        **progress,
        "decisions": ledger.decisions,
        "stages": [entry.to_dict() for entry in ledger.entries],
        "checkpoints": steps,
        "best": best and {"step": best.step, best.metric: best.value},
    }
    lines = [f"{folder}: {progress_line(progress)}"]
    lines.append(f"checkpoints at steps: {', '.join(map(str, steps)) or 'none yet'}")
    if best is not None:
        lines.append(f"best: step {best.step}, {best.metric} {best.value:.4f}")
    for entry in ledger.entries:
        lines += stage_lines(entry)
    return facts, "\n".join(lines)


def progress_of(run: RunFolder, entries: Sequence[Entry]) -> dict[str, Any]:
    """Return the stage, its step, the last loss, speed and time left; None is not known yet."""
    alive, entry = is_locked(run.path), entries[-1] if entries else None
    last = last_steps(run.metrics)
    step = last[-1]["step"] if last else 0
    done = max(0, step - entry.first_step) if entry else 0
    seconds = sum(line["perf/total_step_time"] for line in last)
    speed = sum(line["data/actual_tokens"] for line in last) / seconds if seconds else None
    left = (entry.tokens * (1 - done / entry.steps)) if entry and entry.steps else None
    running = alive and entry is not None and entry.status == "running"
    return {
        "alive": alive,
        "process": _owner(run.path) if alive else None,
        "status": entry.status if entry else "not begun",
        "stage": entry.name if entry else None,
        "step": step,
        "stage_step": done,
        "stage_steps": entry.steps if entry else None,
        "loss": last[-1]["train/loss"] if last else None,
        "tokens_per_second": speed,
        "seconds_left": left / speed if running and left is not None and speed else None,
    }


def progress_line(progress: dict[str, Any]) -> str:
    """Return the progress for people."""
    at_work = f"process {progress['process']} is at work on it"
    at_work = at_work if progress["alive"] else "no process is at work on it"
    if progress["stage"] is None:
        return f"{at_work}; no step is trained yet"
    parts = [
        f"stage '{progress['stage']}' {progress['status']}",
        f"step {progress['stage_step']:,} of {progress['stage_steps']:,}",
    ]
    if progress["loss"] is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress["seconds_left"] is not None:
        parts.append(f"{progress['tokens_per_second']:,.0f} tokens/s")
        parts.append(f"{format_seconds(progress['seconds_left'])} left in this stage")
    return f"{at_work}\n{', '.join(parts)}"


def stage_lines(entry: Entry) -> list[str]:
    """Return what the ledger has of a stage."""
    planned = f"{entry.steps:,} steps, {entry.tokens:,} tokens planned"
    lines = [f"stage '{entry.name}': {entry.status}, {planned}"]
    lines += [f"  gate: {line}" for line in entry.findings()]
    for domain in filter(None, dict.fromkeys(map(domain_of, entry.at_end))):
        perplexity, bits = (
            entry.at_end[f"val/{domain}/{n}"] for n in ("perplexity", "bits_per_byte")
        )
        lines.append(f"  {domain}: perplexity {perplexity:.3f}, bits per byte {bits:.4f}")
    return lines


_OF_A_STEP = {"step", "train/loss", "perf/total_step_time", "data/actual_tokens"}


def last_steps(metrics: Path) -> list[dict[str, Any]]:
    """Return the last lines of training in the metrics; one that is being written is left out."""
    if not metrics.is_file():
        return []
    with open(metrics, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        *lines, _ = file.read().split(b"\n")
        if file.tell() > TAIL_BYTES:
            del lines[:1]
    records = (_record(line) for line in lines)
    return [record for record in records if record.keys() >= _OF_A_STEP]


def _record(line: bytes) -> dict[str, Any]:
    """Return a line of the metrics; nothing of one that a crash of the machine spoiled."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _owner(folder: Path) -> int | None:
    text = (folder / ".lock").read_text().strip()
    return int(text) if text.isdecimal() else None
