"""Replay: reconstructs from the plan which rows any step of a run reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import CheckpointDamaged, read_checkpoint
from yxanul.data.manifest import read_manifest
from yxanul.data.mix import MixCursor, Row, exact_shares, plan_rows
from yxanul.recipe import Recipe
from yxanul.stages.config import StageSettings
from yxanul.stages.ledger import Entry, Ledger
from yxanul.stages.plan import resolve_plan
from yxanul.train.curriculum import Phase, Plan
from yxanul.train.micro_batch import with_micro_rows
from yxanul.train.progress import Progress

_CHUNK_ROWS = 20_000


@dataclass(frozen=True)
class PlannedStep:
    """One optimizer step of a plan."""

    step: int
    """Number in the run, from 1, as in metrics and checkpoints."""
    stage: str
    stage_step: int
    """Number in the stage, from 1."""
    plan: Plan
    """Plan of the stage."""
    phase: Phase
    rows: list[Row]


def locate_step(run: RunFolder, recipe: Recipe, step: int) -> PlannedStep:
    """Return a step's rows as the trainer plans them.

    Each stage is replayed from its newest checkpoint before the step, if any.
    """
    anchors, cursor, before = _checkpoint_progress(run), MixCursor(), 0
    for stage in recipe.stages:
        plan = _plan_of(run, recipe, stage, cursor.positions, before)
        here, own = step - before, anchors.get(stage.name, [])
        if 1 <= here <= plan.total_steps:
            cursor, phase = _advance(plan, here - 1, cursor, own), plan.phase_at(here - 1)
            rows, _ = plan_rows(cursor, phase.mix, phase.rows, phase.seq_len)
            return PlannedStep(step, stage.name, here, plan, phase, rows)
        cursor = _advance(plan, plan.total_steps, cursor, own)
        before += plan.total_steps
    raise YxanulError(f"the run has no step {step}", expected=f"1 to {before:,}")


def skip_rows(cursor: MixCursor, phase: Phase, num_rows: int) -> MixCursor:
    """Return the cursor after `num_rows` rows of a phase.

    If a chunk leaves the debts unchanged, all later chunks are the same: they are multiplied
    instead of replayed.
    """
    period = math.lcm(*(share.denominator for share in exact_shares(phase.mix).values()))
    chunk = _CHUNK_ROWS if period > _CHUNK_ROWS else max(1, _CHUNK_ROWS // period) * period
    while num_rows:
        count = min(chunk, num_rows)
        _, after = plan_rows(cursor, phase.mix, count, phase.seq_len)
        times = num_rows // count if after.debts == cursor.debts else 1
        positions = {
            source: at + (times - 1) * (at - cursor.positions.get(source, 0))
            for source, at in after.positions.items()
        }
        cursor = MixCursor(positions, after.debts)
        num_rows -= count * times
    return cursor


def _advance(plan: Plan, steps: int, cursor: MixCursor, anchors: list[Progress]) -> MixCursor:
    """Return the cursor after `steps` steps of a stage that begins at `cursor`."""
    done = 0
    for anchor in anchors:
        if done <= anchor.stage_step <= steps:
            done, cursor = anchor.stage_step, anchor.cursor
    for phase in plan.phases:
        last = min(steps, phase.first_step + phase.num_steps)
        count = last - max(done, phase.first_step)
        if count > 0:
            cursor = skip_rows(cursor, phase, count * phase.rows)
    return cursor


def _checkpoint_progress(run: RunFolder) -> dict[str, list[Progress]]:
    """Return the progress in each readable checkpoint, by stage."""
    by_stage: dict[str, list[Progress]] = {}
    for step in checkpoint_steps(run.checkpoints):
        try:
            _, state = read_checkpoint(checkpoint_path(run.checkpoints, step), only=())
        except CheckpointDamaged:
            continue
        progress = Progress.from_dict(state["progress"])
        by_stage.setdefault(progress.stage, []).append(progress)
    return by_stage


def _plan_of(
    run: RunFolder, recipe: Recipe, stage: StageSettings, positions: Mapping[str, int], before: int
) -> Plan:
    """Return the plan of a stage that begins at `positions`, after `before` steps."""
    budget, entry = stage.budget, Ledger.open(run.ledger).entry(stage.name)
    if budget.minutes is not None and (entry is None or entry.minutes != budget.minutes):
        raise YxanulError(
            f"stage '{stage.name}' has a budget in minutes and has not begun",
            expected=f"a step from 1 to {before:,}" if before else None,
            hint="its plan is known once the stage has begun",
        )
    entry = entry or Entry(stage.name, "running", 0, 0, before, {}, dict(positions))
    stages = recipe.stages[: recipe.stages.index(stage) + 1]
    names = {name for one in stages for name in one.domains()}
    if all(one.budget.epochs is None for one in stages):  # then only bounded sources are counted
        names = {name for name in names if recipe.data.sources[name].max_epochs}
    folder = run.data(recipe.data.folder)
    available = {name: read_manifest(folder / name).splits["train"].tokens for name in names}
    return with_micro_rows(resolve_plan(recipe, stage, entry, available), entry.micro_rows)
