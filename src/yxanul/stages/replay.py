"""Any step of a run, found again from its plan: the rows that it reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from yxanul.base.errors import YxanulError, near_miss
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

_PIECE = 20_000


@dataclass(frozen=True)
class PlannedStep:
    """One optimizer update, before or after it is done."""

    step: int
    """Its number in the run, from 1, as metrics and checkpoints count."""
    stage: str
    stage_step: int
    """Its number in the stage, from 1."""
    plan: Plan
    """That of the stage."""
    phase: Phase
    rows: list[Row]

    def micro_batches(self) -> list[list[Row]]:
        """Return the rows as they go through the model."""
        size = self.phase.micro_rows
        return [self.rows[start : start + size] for start in range(0, len(self.rows), size)]


def locate_step(run: RunFolder, recipe: Recipe, step: int, stage: str | None = None) -> PlannedStep:
    """Plan the rows of a step as the trainer does; it is counted in the run, or in a stage.

    In each stage the walk begins at its newest checkpoint before the step, if there is one.
    """
    names = [one.name for one in recipe.stages]
    if stage is not None and stage not in names:
        raise YxanulError(
            f"the run has no stage '{stage}'",
            expected=f"one of {', '.join(names)}",
            hint=near_miss(stage, names),
        )
    plans, anchors = _Plans(run, recipe), _anchors(run)
    cursor, before = MixCursor(), 0
    for one in recipe.stages:
        plan = plans.of(one, cursor.positions, before)
        here = step if stage is not None else step - before
        if one.name == stage or (stage is None and step > 0 and here <= plan.total_steps):
            _check_range(f"stage '{one.name}'", here, plan.total_steps)
            cursor = _walk(plan, here - 1, cursor, anchors.get(one.name, []))
            phase = plan.phase_at(here - 1)
            rows, _ = plan_rows(cursor, phase.mix, phase.rows, phase.seq_len)
            return PlannedStep(before + here, one.name, here, plan, phase, rows)
        cursor = _walk(plan, plan.total_steps, cursor, anchors.get(one.name, []))
        before += plan.total_steps
    _check_range("the run", step, before)
    raise AssertionError("every step up to the last one is in a stage")


def skip_rows(cursor: MixCursor, phase: Phase, num_rows: int) -> MixCursor:
    """Return the cursor after so many rows of a phase.

    Where a piece leaves the debts as they were, the pieces after it are like it: they are
    multiplied, not walked.
    """
    period = math.lcm(*(share.denominator for share in exact_shares(phase.mix).values()))
    piece = max(1, _PIECE // period) * period if period <= _PIECE else _PIECE
    while num_rows:
        count = min(piece, num_rows)
        _, after = plan_rows(cursor, phase.mix, count, phase.seq_len)
        times = num_rows // count if after.debts == cursor.debts else 1
        cursor = _repeated(cursor, after, times)
        num_rows -= count * times
    return cursor


def _repeated(before: MixCursor, after: MixCursor, times: int) -> MixCursor:
    """Return the cursor after `times` pieces, of which the first led from `before` to `after`."""
    positions = {
        source: at + (times - 1) * (at - before.positions.get(source, 0))
        for source, at in after.positions.items()
    }
    return MixCursor(positions, after.debts)


def _walk(plan: Plan, steps: int, cursor: MixCursor, anchors: list[Progress]) -> MixCursor:
    """Return the cursor after so many steps of a stage that begins at `cursor`."""
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


def _anchors(run: RunFolder) -> dict[str, list[Progress]]:
    """Return where the checkpoints stand, by stage."""
    found: dict[str, list[Progress]] = {}
    for step in checkpoint_steps(run.checkpoints):
        try:
            _, state = read_checkpoint(checkpoint_path(run.checkpoints, step), only=())
        except CheckpointDamaged:
            continue
        progress = Progress.from_dict(state["progress"])
        found.setdefault(progress.stage, []).append(progress)
    return found


class _Plans:
    """The plans of the stages of a run: from its recipe, its ledger and its text."""

    def __init__(self, run: RunFolder, recipe: Recipe) -> None:
        self._recipe = recipe
        self._folder = run.data(recipe.data.folder)
        self._ledger = Ledger.open(run.ledger)

    def of(self, stage: StageSettings, positions: Mapping[str, int], before: int) -> Plan:
        """Return the plan of a stage that begins at these positions, after so many steps."""
        budget, entry = stage.budget, self._ledger.entry(stage.name)
        if budget.minutes is not None and (entry is None or entry.minutes != budget.minutes):
            raise YxanulError(
                f"the minutes of stage '{stage.name}' are not measured yet",
                expected=f"a step from 1 to {before:,}" if before else None,
                hint="its plan is known once the stage has begun",
            )
        entry = entry or Entry(stage.name, "running", 0, 0, before, {}, dict(positions))
        bounded = {n for n in stage.domains() if self._recipe.data.sources[n].max_epochs}
        available = self._available(stage.domains() if budget.epochs is not None else bounded)
        plan = resolve_plan(self._recipe, stage, entry, available)
        return with_micro_rows(plan, entry.micro_rows)

    def _available(self, names: Iterable[str]) -> dict[str, int]:
        """Return the training tokens of sources, all of which have to be encoded to the end."""
        manifests = {name: read_manifest(self._folder / name) for name in names}
        return {name: one.splits["train"].tokens for name, one in manifests.items()}


def _check_range(where: str, step: int, last: int) -> None:
    if not 1 <= step <= last:
        raise YxanulError(f"{where} has no step {step}", expected=f"1 to {last:,}")
