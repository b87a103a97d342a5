"""Plans that change during training: budgets in minutes, and early cooldown."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_text
from yxanul.base.run_folder import RunFolder
from yxanul.model.count import flops_per_token
from yxanul.optim.schedules import check_schedule
from yxanul.recipe import Recipe
from yxanul.stages.config import StageSettings, longest_row, stage_optim
from yxanul.stages.ledger import Entry, Ledger
from yxanul.stages.measure import guess_speed
from yxanul.stages.plan import HARMLESS_EPOCHS, bounds_of, repeats, resolve_plan
from yxanul.stages.session import Session
from yxanul.train.curriculum import Phase, Plan, cooled_plan, is_warming_up
from yxanul.train.micro_batch import micro_rows_of, with_micro_rows
from yxanul.train.trainer import Callback, Changes, StepReport, Trainer

FIRST_STEPS, FIRST_SECONDS = 3, 2.0
"""Steps and seconds that are timed before the first plan."""
WINDOW_SECONDS = 15.0
"""Window over which the speed is averaged."""
REPLAN_SECONDS = 60.0
"""Minimum interval between plans."""
TOLERANCE = 0.1
"""Deviation from the end, as a share of the time left, that triggers a new plan."""


def guess_tokens(session: Session, stage: StageSettings) -> int:
    """Estimate how many tokens a stage's minutes allow, before its first step."""
    assert stage.budget.minutes is not None
    speed = guess_speed(session.model_settings, longest_row(stage), session.peak_flops)
    return max(1, round(60 * stage.budget.minutes * speed))


def warn_of_repeats(session: Session, plan: Plan, entry: Entry) -> None:
    """Warn about sources without `max_epochs` that a plan repeats too often."""
    bounds = bounds_of(plan, session.recipe.data.sources)
    for name, epochs in repeats(plan, session.data.train_tokens, entry.positions).items():
        if name not in bounds and epochs > HARMLESS_EPOCHS:
            session.ui.warn(
                f"source '{name}' is read for {epochs:.1f} epochs: returns diminish beyond"
                f" {HARMLESS_EPOCHS:g}; add text, or set max_epochs"
            )


class MinutesBudget(Callback):
    """Replans a stage when it would end earlier or later than its budget in minutes."""

    def __init__(self, session: Session, stage: StageSettings, entry: Entry, minutes: float):
        self._session, self._stage, self._entry = session, stage, entry
        self._seconds = 60 * minutes
        self._marks: deque[tuple[float, float]] = deque()
        """(End time of a step, FLOPs of all steps since the first in this process)."""
        self._began: float | None = None
        """Start time of the stage, as if it had been trained without interruption."""
        self._planned = 0.0

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Replan the rest of the stage if due."""
        tokens = self._session.world.broadcast(self._tokens(trainer))
        if tokens is None:
            return None
        entry, done = self._entry, trainer.progress.stage_step
        is_first = not entry.replans
        entry.replans.append((done, tokens))
        entry.tokens_per_second = tokens / self._seconds
        plan = self._plan(trainer, entry)
        entry.steps, entry.tokens = plan.total_steps, plan.total_tokens
        if is_first:
            check_schedule(trainer.optim, total_steps=entry.steps, total_tokens=entry.tokens)
        self._session.ledger.write()
        self._session.ui.say(
            f"stage '{entry.name}': {self._seconds / 60:g} minutes at"
            f" {entry.tokens_per_second:,.0f} tokens/s are {entry.tokens:,} tokens"
            + ("" if is_first else f", replanned after step {done}")
        )
        if is_first:
            warn_of_repeats(self._session, plan, entry)
        return Changes(plan)

    def _tokens(self, trainer: Trainer) -> int | None:
        """Return the tokens of the whole stage at the current speed; None if no replan is due."""
        plan, done, now = trainer.plan, trainer.progress.stage_step, perf_counter()
        if self._entry.extensions or self._entry.cooldown_steps == plan.total_steps:
            return None
        if self._began is None:  # one-time work in the first step does not count
            _, tokens = plan.done_of(plan.curve_at(done), done)
            share = tokens / plan.curve_at(done).total_tokens
            self._began, self._planned = now - share * self._seconds, now
        self._note(now, plan.phase_at(done - 1))
        if not self._is_due(now, plan, done):
            return None
        (start, before), (end, after) = self._marks[0], self._marks[-1]
        work_per_second = (after - before) / (end - start)
        left = max(self._began + self._seconds - now, 0.02 * self._seconds)
        needed = self._work(plan, done) / work_per_second
        if abs(needed / left - 1) <= TOLERANCE:
            return None
        self._planned = now
        tokens = plan.curve_at(done).total_tokens
        for _ in range(6):  # the mean speed depends on the phases, and they on the length
            tokens = max(1, round(tokens * left / needed))
            trial = replace(self._entry, replans=[*self._entry.replans, (done, tokens)])
            needed = self._work(self._plan(trainer, trial), done) / work_per_second
            if needed == 0:
                break
        return tokens

    def _note(self, now: float, phase: Phase) -> None:
        """Record the end of a step; drop marks older than the window."""
        before = self._marks[-1][1] if self._marks else -self._work_of(phase)
        self._marks.append((now, before + self._work_of(phase)))
        while len(self._marks) > FIRST_STEPS + 1 and self._marks[1][0] < now - WINDOW_SECONDS:
            self._marks.popleft()

    def _is_due(self, now: float, plan: Plan, done: int) -> bool:
        """Whether enough steps are timed, the last plan is old enough, and steps are left."""
        if len(self._marks) <= FIRST_STEPS or done == plan.total_steps:
            return False
        replans = self._entry.replans
        if not replans:
            return now - self._marks[0][0] >= min(FIRST_SECONDS, 0.1 * self._seconds)
        return done > replans[-1][0] and now - self._planned >= REPLAN_SECONDS

    def _plan(self, trainer: Trainer, entry: Entry) -> Plan:
        session = self._session
        plan = resolve_plan(session.recipe, self._stage, entry, session.data.train_tokens)
        return with_micro_rows(plan, micro_rows_of(trainer.plan))

    def _work(self, plan: Plan, steps_done: int) -> float:
        """Return the FLOPs of the remaining steps."""
        ends = ((phase, phase.first_step + phase.num_steps) for phase in plan.phases)
        left = ((phase, end - max(steps_done, phase.first_step)) for phase, end in ends)
        return sum(steps * self._work_of(phase) for phase, steps in left if steps > 0)

    def _work_of(self, phase: Phase) -> float:
        """Return the FLOPs of one step."""
        model = self._session.model_settings
        return phase.step_tokens * flops_per_token(model, phase.seq_len).total


def ask(run: RunFolder, recipe: Recipe) -> None:
    """Request an early cooldown; reject it unless the running stage has a wsd schedule."""
    stage = stage_at_work(run, recipe)
    name = stage_optim(recipe.optim, stage).schedule.name
    if name != "wsd":
        raise YxanulError(
            f"stage '{stage.name}' cannot cool down early",
            got=f"schedule {name}",
            expected="wsd",
            hint="the other schedules depend on the length of the stage",
        )
    write_text(request_of(run), f"{stage.name}\n")


def stage_at_work(run: RunFolder, recipe: Recipe) -> StageSettings:
    """Return the first stage that has not passed its gate; it must have begun."""
    entries = {entry.name: entry for entry in Ledger.open(run.ledger).entries}
    for stage in recipe.stages:
        if stage.name not in entries:
            raise YxanulError(f"stage '{stage.name}' of {run.path} has not begun yet")
        if entries[stage.name].status != "passed":
            return stage
    raise YxanulError(f"{run.path} is complete: every stage has passed its gate")


def request_of(run: RunFolder) -> Path:
    """Return the request file for an early cooldown; it contains the name of the stage."""
    return run.path / "cooldown-now"


class Cooldown(Callback):
    """Serves cooldown requests: shortens the plan and records it in the ledger."""

    def __init__(self, session: Session, entry: Entry):
        self._session, self._entry = session, entry

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Check for a request; return the shortened plan."""
        session, entry = self._session, self._entry
        request = request_of(session.run)
        if not session.world.any(session.world.is_main and request.exists()):
            return None
        is_meant = session.world.broadcast(_stage_of(request) == entry.name)
        done, total = report.progress.stage_step, trainer.plan.total_steps
        if is_meant and is_warming_up(trainer.plan, trainer.optim, done):
            return None  # the cooldown starts after the warm-up
        cut = None
        if is_meant and entry.cooldown_steps != total and done < total:
            cut = cooled_plan(trainer.plan, trainer.optim, done)
            entry.cooldown_of, entry.cooldown_steps = total, cut.total_steps
            entry.steps, entry.tokens = cut.total_steps, cut.total_tokens
            session.ledger.write()
            left = cut.total_steps - done
            session.ui.say(f"stage '{entry.name}': cooldown begins, {left:,} steps left")
            before, after = ({phase.index for phase in one.phases} for one in (trainer.plan, cut))
            if lost := sorted(before - after):
                session.ui.warn(f"phases skipped by the cooldown: {', '.join(map(str, lost))}")
        if session.world.is_main:
            request.unlink(missing_ok=True)
        return Changes(cut)


def _stage_of(request: Path) -> str | None:
    """Return the stage named by a request file; it may have ended since."""
    return request.read_text().strip() if request.exists() else None
