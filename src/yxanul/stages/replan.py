"""Plans that change while a stage trains: minutes at the speed that is measured, an early end."""

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
"""So many steps, and so long, are timed before the first plan."""
WINDOW_SECONDS = 15.0
"""The speed is that of the last so many seconds."""
REPLAN_SECONDS = 60.0
"""From one plan to the next, at least."""
TOLERANCE = 0.1
"""Share of the time left by which the end may be off before the stage is planned anew."""


def guess_tokens(session: Session, stage: StageSettings) -> int:
    """Return about how many tokens a stage's minutes come to, before its first step."""
    assert stage.budget.minutes is not None
    speed = guess_speed(session.model_settings, longest_row(stage), session.peak_flops)
    return max(1, round(60 * stage.budget.minutes * speed))


def warn_of_repeats(session: Session, plan: Plan, entry: Entry) -> None:
    """Warn of sources without a bound that a plan reads more often than is known to be harmless."""
    bounds = bounds_of(plan, session.recipe.data.sources)
    for name, epochs in repeats(plan, session.data.train_tokens, entry.positions).items():
        if name not in bounds and epochs > HARMLESS_EPOCHS:
            session.ui.warn(
                f"'{name}' is read {epochs:.1f} times: beyond {HARMLESS_EPOCHS:g} a repeated text"
                " teaches less and less; give more text, or bound it with max_epochs"
            )


class MinutesBudget(Callback):
    """Plans a stage anew when it would end earlier or later than its minutes say."""

    def __init__(self, session: Session, stage: StageSettings, entry: Entry, minutes: float):
        self._session, self._stage, self._entry = session, stage, entry
        self._seconds = 60 * minutes
        self._marks: deque[tuple[float, float]] = deque()
        """When a step ended, and the work of all steps since the first one here."""
        self._began: float | None = None
        """When the stage would have begun, had it been trained without a break."""
        self._planned = 0.0

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Plan the rest of the stage anew, if that is due."""
        tokens = self._session.world.broadcast(self._tokens(trainer))
        if tokens is None:
            return None
        entry, done = self._entry, trainer.progress.stage_step
        is_main = not entry.replans
        entry.replans.append((done, tokens))
        entry.tokens_per_second = tokens / self._seconds
        plan = self._plan(trainer, entry)
        entry.steps, entry.tokens = plan.total_steps, plan.total_tokens
        if is_main:
            check_schedule(trainer.optim, total_steps=entry.steps, total_tokens=entry.tokens)
        self._session.ledger.write()
        self._session.ui.say(
            f"stage '{entry.name}': {self._seconds / 60:g} minutes at"
            f" {entry.tokens_per_second:,.0f} tokens/s are {entry.tokens:,} tokens"
            + ("" if is_main else f", planned anew after step {done}")
        )
        if is_main:
            warn_of_repeats(self._session, plan, entry)
        return Changes(plan)

    def _tokens(self, trainer: Trainer) -> int | None:
        """Return the tokens of all minutes at the speed of now, if the plan is due and wrong."""
        plan, done, now = trainer.plan, trainer.progress.stage_step, perf_counter()
        if self._entry.extensions or self._entry.cooldown_steps == plan.total_steps:
            return None
        if self._began is None:  # what the first step does once does not count for the speed
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
        for _ in range(6):  # the mean speed depends on the phases, and these on the length
            tokens = max(1, round(tokens * left / needed))
            trial = replace(self._entry, replans=[*self._entry.replans, (done, tokens)])
            needed = self._work(self._plan(trainer, trial), done) / work_per_second
            if needed == 0:
                break
        return tokens

    def _note(self, now: float, phase: Phase) -> None:
        """Note the end of a step; forget what lies before the window."""
        before = self._marks[-1][1] if self._marks else -self._work_of(phase)
        self._marks.append((now, before + self._work_of(phase)))
        while len(self._marks) > FIRST_STEPS + 1 and self._marks[1][0] < now - WINDOW_SECONDS:
            self._marks.popleft()

    def _is_due(self, now: float, plan: Plan, done: int) -> bool:
        """Say whether enough is timed, long enough after the last plan, and something is left."""
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
        """Return the FLOPs of the steps that are left."""
        ends = ((phase, phase.first_step + phase.num_steps) for phase in plan.phases)
        left = ((phase, end - max(steps_done, phase.first_step)) for phase, end in ends)
        return sum(steps * self._work_of(phase) for phase, steps in left if steps > 0)

    def _work_of(self, phase: Phase) -> float:
        """Return the FLOPs of one step."""
        model = self._session.model_settings
        return phase.step_tokens * flops_per_token(model, phase.seq_len).total


def ask(run: RunFolder, recipe: Recipe) -> None:
    """Leave the request; refuse it where the stage that is at work does not come down late."""
    stage = stage_at_work(run, recipe)
    name = stage_optim(recipe.optim, stage).schedule.name
    if name != "wsd":
        raise YxanulError(
            f"stage '{stage.name}' cannot cool down early",
            got=f"the schedule {name}",
            expected="wsd, which stays at its peak until it comes down",
            hint="other schedules are bound to their length",
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
    raise YxanulError(f"{run.path} has ended: every stage has passed its gate")


def request_of(run: RunFolder) -> Path:
    """Return the file that asks for it: it names the stage."""
    return run.path / "cooldown-now"


class Cooldown(Callback):
    """Takes up a request: cuts the plan, and writes down how long the stage is now."""

    def __init__(self, session: Session, entry: Entry):
        self._session, self._entry = session, entry

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Look for a request; return the shorter plan."""
        session, entry = self._session, self._entry
        request = request_of(session.run)
        if not session.world.any(session.world.is_main and request.exists()):
            return None
        is_meant = session.world.broadcast(_stage_of(request) == entry.name)
        done, total = report.progress.stage_step, trainer.plan.total_steps
        if is_meant and is_warming_up(trainer.plan, trainer.optim, done):
            return None  # it comes down once it is up
        cut = None
        if is_meant and entry.cooldown_steps != total and done < total:
            cut = cooled_plan(trainer.plan, trainer.optim, done)
            entry.cooldown_of, entry.cooldown_steps = total, cut.total_steps
            entry.steps, entry.tokens = cut.total_steps, cut.total_tokens
            session.ledger.write()
            left = cut.total_steps - done
            session.ui.say(f"stage '{entry.name}' comes down from here on: {left:,} steps are left")
            before, after = ({phase.index for phase in one.phases} for one in (trainer.plan, cut))
            if lost := sorted(before - after):
                session.ui.warn(f"what it does not come to: phase {', '.join(map(str, lost))}")
        if session.world.is_main:
            request.unlink(missing_ok=True)
        return Changes(cut)


def _stage_of(request: Path) -> str | None:
    """Return the stage that is asked to end; it may be over by now."""
    return request.read_text().strip() if request.exists() else None
