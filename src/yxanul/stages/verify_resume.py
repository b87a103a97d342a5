"""Check that a stopped and resumed run is bit-identical to an uninterrupted one."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from yxanul.base.errors import Interrupted, YxanulError
from yxanul.base.files import write_json, write_text
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import read_checkpoint
from yxanul.monitor.alerts.table import TIMED as TIMED_ALERTS
from yxanul.recipe import Recipe, dump_recipe
from yxanul.stages.config import Budget
from yxanul.stages.ledger import Ledger
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.train.parallel.worker_group import WorkerGroup, command_of

TIMED = ("perf/", "memory/", "epoch/avg_tokens_per_second", "task/")
"""Metrics that depend on the clock or the machine, or are measured when there is time, and are not
compared."""


class Proof(NamedTuple):
    """Result of the comparison."""

    steps: int
    stops: list[int]
    """Steps after which the second run was stopped and resumed in a new process."""
    tensors: int
    """Number of tensors in the last checkpoint, compared bit by bit."""
    values: int
    """Number of metric values compared."""
    differences: list[str]
    """Descriptions of all differences; empty if the runs are equal."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible data."""
        return self._asdict() | {"equal": not self.differences}


def verify_resume(
    prepared: RunFolder, recipe: Recipe, ui: Ui, *, steps: int, num_stops: int, devices: int
) -> Proof:
    """Train the first steps of a prepared run twice, once with random stops, and compare.

    Both runs are written to a folder in the run folder, which is deleted if they are equal; the
    result is written beside it.
    """
    folder = prepared.path / "verify-resume"
    shutil.rmtree(folder, ignore_errors=True)
    straight = _copy_of(prepared, folder / "straight", recipe, steps)
    stopped = _copy_of(prepared, folder / "stopped", recipe, steps)
    ui.say(f"training {steps} steps without interruption")
    _train_until(straight, [steps], devices)
    steps = checkpoint_steps(straight.checkpoints)[-1]  # the recipe may have fewer steps
    chosen = sorted(random.Random().sample(range(1, steps), min(num_stops, steps - 1)))
    decisions = Ledger.open(straight.ledger).decisions  # measured decisions may vary between runs
    Ledger(stopped.ledger, decisions).write()
    ui.say(f"training again, stopped after steps {', '.join(map(str, chosen))}")
    _train_until(stopped, [*chosen, steps], devices)
    proof = compare(straight, stopped, steps, chosen)
    if not proof.differences:
        shutil.rmtree(folder)
    write_json(prepared.path / "verify-resume.json", {"schema_version": 1} | proof.to_dict())
    return proof


def compare(straight: RunFolder, stopped: RunFolder, steps: int, stops: list[int]) -> Proof:
    """Compare two runs' checkpoints at a step and their metrics up to it."""
    (ours, our_state), (theirs, their_state) = (
        read_checkpoint(checkpoint_path(run.checkpoints, steps)) for run in (straight, stopped)
    )
    ours_flat, theirs_flat = (
        {f"{stem}: {name}": one for stem, named in files.items() for name, one in named.items()}
        for files in (ours, theirs)
    )
    differences = [
        f"{name} differs"
        for name in sorted(ours_flat.keys() | theirs_flat.keys())
        if name not in ours_flat
        or name not in theirs_flat
        or not torch.equal(ours_flat[name], theirs_flat[name])
    ]
    if our_state != their_state:
        keys = [key for key in our_state if our_state[key] != their_state.get(key)]
        differences.append(f"state differs in {', '.join(keys)}")
    ours_lines, theirs_lines = metrics_of(straight), metrics_of(stopped)
    differences += [
        f"metrics of step {one.get('step')} differ"
        for one, other in zip(ours_lines, theirs_lines, strict=False)
        if one != other
    ]
    if len(ours_lines) != len(theirs_lines):
        differences.append(f"{len(ours_lines)} lines of metrics, resumed run {len(theirs_lines)}")
    values = sum(map(len, ours_lines))
    return Proof(steps, stops, len(ours_flat), values, differences)


def metrics_of(run: RunFolder) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics without those in TIMED, and without alerts about them."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if not k.startswith(TIMED)}
        for line in lines
        if line.get("alert", {}).get("name") not in TIMED_ALERTS
    ]


def _copy_of(prepared: RunFolder, folder: Path, recipe: Recipe, steps: int) -> RunFolder:
    """Create a run with the same recipe, text and tokenizer; budgets in minutes become steps, since
    their length varies."""
    stages = tuple(
        stage.model_copy(update={"budget": Budget(steps=50 * steps)})
        if stage.budget.minutes is not None
        else stage
        for stage in recipe.stages
    )
    run = RunFolder(folder)
    write_text(run.recipe, dump_recipe(recipe.model_copy(update={"stages": stages})))
    Tokenizer.load(prepared.tokenizer).save(run.tokenizer)
    if recipe.data.folder is None:
        run.data(None).symlink_to(prepared.data(None).resolve())
    return run


def _train_until(run: RunFolder, ends: Sequence[int], devices: int) -> None:
    """Train up to each of the steps in turn, each time in new processes."""
    for end in ends:
        options = ["--out", str(run.path), "--stop-after", str(end)]
        command = command_of(["train", str(run.recipe), *options])
        report = WorkerGroup(command, devices, quiet=True).run()
        if report is not None and report.exit_code >= 128:
            raise Interrupted(report.text, signal_number=report.exit_code - 128)
        if report is not None:
            raise YxanulError(f"training up to step {end} failed: {report.text}")
