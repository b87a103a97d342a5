"""`yxanul show RUN`: the state of a run, and whether a process is working on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from yxanul.base.files import is_locked
from yxanul.base.metric_names import domain_of, task_of
from yxanul.base.run_folder import RunFolder
from yxanul.checkpoint.keep import read_best
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.cli.watch_screen import line
from yxanul.report.facts import RunReader
from yxanul.report.live import live_facts
from yxanul.stages.ledger import Entry, Ledger

PROGRESS = (
    "status", "stage", "step", "stage_step", "stage_steps", "loss", "tokens_per_second",
    "seconds_left",
)  # fmt: skip
"""What is shown of the figures that `yxanul watch` draws."""


def show_run(folder: Path) -> tuple[dict[str, Any], str]:
    """Return a run's progress, stages, gate verdicts and checkpoints."""
    run, reader = RunFolder(folder), RunReader(folder)
    ledger, live = Ledger.open(run.ledger), live_facts(reader)
    steps, best = checkpoint_steps(run.checkpoints), read_best(folder)
    alive, alerts = is_locked(folder), len(reader.update().alerts)
    process = (folder / ".lock").read_text() if alive else ""
    facts = {
        "run": str(folder),
        "alive": alive,
        "process": int(process) if process.isdecimal() else None,
        **{name: live[name] for name in PROGRESS},
        "alerts": alerts,
        "decisions": ledger.decisions,
        "stages": [entry.to_dict() for entry in ledger.entries],
        "checkpoints": steps,
        "best": best and {"step": best.step, best.metric: best.value},
    }
    worker = f"process {process}" if alive else "no process"
    lines = [f"{folder}: {worker} is working on it", line(live)]
    lines.append(f"checkpoints at steps: {', '.join(map(str, steps)) or 'none yet'}")
    if best is not None:
        lines.append(f"best: step {best.step}, {best.metric} {best.value:.4f}")
    if alerts:
        lines.append(
            f"{alerts} alert{'s' * (alerts > 1)}: yxanul doctor {shlex.quote(str(folder))}"
        )
    for entry in ledger.entries:
        lines += stage_lines(entry, alive)
    return facts, "\n".join(lines)


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
