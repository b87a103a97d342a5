"""`yxanul show RUN`: the state of a run, and whether a process is working on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from yxanul.base.figures import format_seconds
from yxanul.base.metric_names import domain_of, task_of
from yxanul.base.run_folder import RunFolder
from yxanul.checkpoint.keep import read_best
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.inspect.progress import progress_of
from yxanul.stages.ledger import Entry, Ledger


def show_run(folder: Path) -> tuple[dict[str, Any], str]:
    """Return a run's progress, stages, gate verdicts and checkpoints."""
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
    if count := progress["alerts"]:
        lines.append(f"{count} alert{'s' * (count > 1)}: yxanul doctor {shlex.quote(str(folder))}")
    for entry in ledger.entries:
        lines += stage_lines(entry, progress["alive"])
    return facts, "\n".join(lines)


def progress_line(progress: dict[str, Any]) -> str:
    """Return the progress as text."""
    worker = f"process {progress['process']}" if progress["alive"] else "no process"
    activity = f"{worker} is working on it"
    if progress["stage"] is None:
        return f"{activity}; no step trained yet"
    parts = [
        f"stage '{progress['stage']}' {progress['status']}",
        f"step {progress['stage_step']:,} of {progress['stage_steps']:,}",
    ]
    if progress["loss"] is not None:
        parts.append(f"loss {progress['loss']:.3f}")
    if progress["seconds_left"] is not None:
        parts.append(f"{progress['tokens_per_second']:,.0f} tokens/s")
        parts.append(f"{format_seconds(progress['seconds_left'])} left in this stage")
    return f"{activity}\n{', '.join(parts)}"


def stage_lines(entry: Entry, alive: bool) -> list[str]:
    """Return a stage's ledger entry as lines."""
    status = "stopped" if entry.status == "running" and not alive else entry.status
    planned = f"{entry.steps:,} steps, {entry.tokens:,} tokens planned"
    lines = [f"stage '{entry.name}': {status}, {planned}"]
    rollbacks = [*entry.rollbacks, *(one for one in entry.actions if one.kind == "rollback")]
    lines += [f"  rollback at step {one.step:,} to step {one.from_step:,}" for one in rollbacks]
    findings = entry.verdict.findings if entry.verdict else ()
    lines += [f"  gate: {finding}" for finding in findings]
    for domain in filter(None, dict.fromkeys(map(domain_of, entry.at_end))):
        perplexity, bits = (
            entry.at_end[f"val/{domain}/{n}"] for n in ("perplexity", "bits_per_byte")
        )
        lines.append(f"  {domain}: perplexity {perplexity:.3f}, bits per byte {bits:.4f}")
    for metric in filter(task_of, entry.at_end):
        if (error := entry.at_end.get(f"{metric}_stderr")) is not None:
            lines.append(f"  {metric}: {entry.at_end[metric]:.4g} +- {error:.2g}")
    return lines
