"""What changes during training: plans of budgets in minutes, CPU threads, and early cooldown."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_text
from yxanul.base.run_folder import RunFolder
from yxanul.model.count import flops_per_token
from yxanul.optim.schedules import check_schedule
from yxanul.recipe import Recipe
from yxanul.stages.config import StageSettings, longest_row, stage_optim
from yxanul.stages.ledger import Entry, Ledger
from yxanul.stages.measure import use_threads
from yxanul.stages.plan import HARMLESS_EPOCHS, bounds_of, repeats, resolve_plan
from yxanul.stages.session import Session
from yxanul.train.curriculum import Phase, Plan, is_warming_up
from yxanul.train.micro_batch import micro_rows_of, with_micro_rows
from yxanul.train.plan_changes import start_decay
from yxanul.train.threads import best_num_threads
from yxanul.train.trainer import Callback, Changes, StepReport, Trainer

FIRST_STEPS, FIRST_SECONDS = 3, 2.0
"""Steps and seconds that are timed before the first plan."""
WINDOW_SECONDS = 15.0
"""Window over which the speed is averaged."""
REPLAN_SECONDS = 60.0
"""Minimum interval between plans."""
USUAL_MFU = 0.4
"""Typical MFU of a step: a first estimate of the speed, until steps have been timed."""
MOST_TOKENS = 10**18
"""Limit of a stage, as of a budget in tokens."""
WORTH_REPLANNING = 0.002
"""Least change of a stage's tokens for a new plan, as a share."""
TOLERANCE = 0.1
"""Deviation from the end, as a share of the time left, that triggers a new plan."""


def guess_tokens(session: Session, stage: StageSettings) -> int:
    """Estimate how many tokens a stage's minutes allow, before its first step."""
    assert stage.budget.minutes is not None
    flops = flops_per_token(session.engine.settings, longest_row(stage)).total
    return max(1, round(60 * stage.budget.minutes * USUAL_MFU * session.peak_flops / flops))


def warn_of_repeats(session: Session, stage: StageSettings, plan: Plan, entry: Entry) -> None:
    """Warn about sources of a stage's plan that `max_epochs` stops, and about those without it that
    are repeated too often."""
    recipe, available = session.recipe, session.data.train_tokens
    asked = resolve_plan(recipe, stage, entry, available, bounded=False)
    bounds = bounds_of(asked, recipe.data.sources)
    for name, epochs in repeats(asked, available, entry.positions).items():
        if epochs > (bound := bounds.get(name, math.inf)):
            session.ui.warn(
                f"source '{name}' would be read for {epochs:.1f} epochs; after {bound:g}"
                " (max_epochs) its share goes to the rest of the mix"
            )
    for name, epochs in repeats(plan, available, entry.positions).items():
        if name not in bounds and epochs > HARMLESS_EPOCHS:
            session.ui.warn(
                f"source '{name}' is read for {epochs:.1f} epochs: returns diminish beyond"
                f" {HARMLESS_EPOCHS:g}; add text, or set max_epochs"
            )


class MinutesBudget(Callback):
    """Replans a stage when it would end earlier or later than its budget in minutes, and chooses
    the number of CPU threads again as other processes come and go."""

    def __init__(self, session: Session, stage: StageSettings, entry: Entry, plan: Plan):
        assert stage.budget.minutes is not None
        self._session, self._stage, self._entry = session, stage, entry
        self._seconds = 60 * stage.budget.minutes
        self._marks: deque[tuple[float, float]] = deque()
        """(End time of a step, FLOPs of all steps since the first in this process)."""
        self._planned = self._threads_checked = perf_counter()
        self._began = self._planned - self._seconds_before(plan, session.progress.stage_step)
        """Start time of the stage, as if it had been trained without interruption."""
        self._is_confirming = False
        """Whether the speed is measured afresh, after a deviation."""
        self._previous_threads: tuple[int, float] | None = None
        """Number of threads before a change that is on trial, and the FLOP/s with them."""

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Choose threads or replan the rest of the stage, if due."""
        entry, done, now = self._entry, trainer.progress.stage_step, perf_counter()
        use_threads(self._session.ledger, entry.name, done)
        self._note(now, trainer.plan.phase_at(done - 1))
        events = (*entry.replans, *entry.threads, (0,))
        # The plan of a stage that has been judged is final: its ledger is followed.
        if entry.verdict is not None or done <= max(event[0] for event in events):
            return None
        world, threads, tokens = self._session.world, None, None
        if world.is_main and (threads := self._new_threads(now)) is None:
            tokens = self._tokens(trainer, now)
        threads, tokens = world.broadcast((threads, tokens))
        if tokens is not None:
            return self._replan(trainer, tokens, now - self._began)
        if threads is not None:
            entry.threads.append((done, threads))
            self._session.ledger.write()
            use_threads(self._session.ledger, entry.name, done)
            self._session.ui.say(f"training with {threads} CPU threads from here on")
            self._marks = deque([self._marks[-1]])
        return None

    def _replan(self, trainer: Trainer, tokens: int, seconds: float) -> Changes:
        """Record an estimate in the ledger; return the new plan."""
        entry, done, is_first = self._entry, trainer.progress.stage_step, not self._entry.replans
        entry.replans.append((done, tokens, round(seconds, 3)))
        plan = self._plan(trainer, entry)
        entry.steps, entry.tokens = plan.total_steps, plan.total_tokens
        entry.tokens_per_second = entry.tokens / self._seconds
        if is_first:
            check_schedule(trainer.optim, total_steps=entry.steps, total_tokens=entry.tokens)
        self._session.ledger.write()
        self._session.ui.say(
            f"stage '{entry.name}': {self._seconds / 60:g} minutes are {entry.tokens:,} tokens,"
            f" {entry.tokens_per_second:,.0f} a second"
            + ("" if is_first else f", replanned after step {done}")
        )
        if is_first:
            warn_of_repeats(self._session, self._stage, plan, entry)
        return Changes(plan)

    def _seconds_before(self, plan: Plan, done: int) -> float:
        """Return the seconds of the budget that were used before this process continued."""
        past = [(step, seconds) for step, _, seconds in self._entry.replans if step <= done]
        step, seconds = past[-1] if past else (0, 0.0)
        tokens, total = plan.tokens_after(step), plan.total_tokens
        share = (plan.tokens_after(done) - tokens) / max(1, total - tokens)
        return seconds + share * (self._seconds - seconds)

    def _new_threads(self, now: float) -> int | None:
        """Return the number of CPU threads if it should change.

        A small measurement is made once a minute, and when a step takes much longer than those
        before it. A change that makes the next steps slower is undone.
        """
        if not self._entry.replans or self._session.device.type != "cpu":
            return None
        if self._previous_threads is not None and len(self._marks) > 1:
            threads, speed_before = self._previous_threads
            is_slower = self._work_per_second() < speed_before
            if is_slower or len(self._marks) > FIRST_STEPS:
                self._previous_threads = None
            if is_slower:
                return threads
        since = now - self._threads_checked
        is_slow = since >= WINDOW_SECONDS and self._last_step_is_slow()
        if (since < REPLAN_SECONDS and not is_slow) or len(self._marks) < 2:
            return None
        self._threads_checked = now
        threads = best_num_threads()
        if threads == torch.get_num_threads():
            return None
        self._previous_threads = torch.get_num_threads(), self._work_per_second()
        return threads

    def _work_per_second(self) -> float:
        """Return the speed of the steps that are timed, in FLOP/s."""
        (start, before), (end, after) = self._marks[0], self._marks[-1]
        return (after - before) / (end - start)

    def _last_step_is_slow(self) -> bool:
        """Whether the last step took more than twice the mean of those before it."""
        if len(self._marks) <= FIRST_STEPS:
            return False
        times = [time for time, _ in self._marks]
        mean = (times[-2] - times[0]) / (len(times) - 2)
        return times[-1] - times[-2] > 2 * mean

    def _tokens(self, trainer: Trainer, now: float) -> int | None:
        """Return the tokens of the whole stage at the current speed; None if no replan is due."""
        plan, done, replans = trainer.plan, trainer.progress.stage_step, self._entry.replans
        if self._entry.cooldown_steps == plan.total_steps or done + 1 >= plan.total_steps:
            return None
        is_measured = len(self._marks) > FIRST_STEPS and now - self._marks[0][0] >= min(
            FIRST_SECONDS, 0.1 * self._seconds
        )
        if not is_measured or (replans and now - self._planned < REPLAN_SECONDS):
            return None
        work_per_second = self._work_per_second()
        left = max(self._began + self._seconds - now, min(FIRST_SECONDS, 0.02 * self._seconds))
        needed = self._work(plan, done) / work_per_second
        was_confirming, self._is_confirming = self._is_confirming, False
        if replans and abs(needed / left - 1) <= TOLERANCE:
            return None
        if replans and not was_confirming:  # the window may mix two speeds, or hold an evaluation
            self._is_confirming = True
            self._marks = deque([self._marks[-1]])
            return None
        self._planned = now
        tokens = self._tokens_for(trainer, left * work_per_second)
        # Where `max_epochs` bounds the stage, a faster machine changes nothing.
        is_new = abs(tokens / plan.curve_at(done).total_tokens - 1) > WORTH_REPLANNING
        return tokens if is_new or not replans else None

    def _tokens_for(self, trainer: Trainer, work: float) -> int:
        """Return the fewest tokens of the whole stage that leave at least `work` FLOPs, within a
        thousandth; fewer where `max_epochs` leaves no text for them."""
        done, replans = trainer.progress.stage_step, self._entry.replans

        def work_left(tokens: int) -> float:
            trial = replace(self._entry, replans=[*replans, (done, tokens, 0.0)])
            try:
                return self._work(self._plan(trainer, trial), done)
            except YxanulError:
                return math.inf

        low, high = 0, trainer.plan.curve_at(done).total_tokens
        while work_left(high) < work and high < MOST_TOKENS:
            low, high = high, 2 * high
        while high - low > max(1, high // 1000):
            middle = (low + high) // 2
            low, high = (low, middle) if work_left(middle) >= work else (middle, high)
        return high if work_left(high) < math.inf else low

    def _note(self, now: float, phase: Phase) -> None:
        """Record the end of a step; drop marks older than the window."""
        before = self._marks[-1][1] if self._marks else -self._work_of(phase)
        self._marks.append((now, before + self._work_of(phase)))
        while len(self._marks) > FIRST_STEPS + 1 and self._marks[1][0] < now - WINDOW_SECONDS:
            self._marks.popleft()

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
        model = self._session.engine.settings
        return phase.step_tokens * flops_per_token(model, phase.seq_len).total


def request_cooldown(run: RunFolder, recipe: Recipe) -> None:
    """Request an early cooldown; reject it unless the running stage has a wsd schedule."""
    stage = current_stage(run, recipe)
    name = stage_optim(recipe.optim, stage).schedule.name
    if name != "wsd":
        raise YxanulError(
            f"stage '{stage.name}' cannot cool down early",
            got=f"schedule {name}",
            expected="wsd",
            hint="the other schedules depend on the length of the stage",
        )
    write_text(cooldown_request(run), f"{stage.name}\n")


def current_stage(run: RunFolder, recipe: Recipe) -> StageSettings:
    """Return the first stage that has not passed its gate; it must have begun."""
    run.check_exists()
    entries = {entry.name: entry for entry in Ledger.open(run.ledger).entries}
    for stage in recipe.stages:
        if stage.name not in entries:
            raise YxanulError(
                f"there is nothing to cool down: stage '{stage.name}' of {run.path} has not begun"
            )
        if entries[stage.name].status != "passed":
            return stage
    raise YxanulError(
        f"there is nothing to cool down: every stage of {run.path} has passed its gate"
    )


def cooldown_request(run: RunFolder) -> Path:
    """Return the request file for an early cooldown; it contains the name of the stage."""
    return run.path / "cooldown-now"


class Cooldown(Callback):
    """Serves cooldown requests: shortens the plan and records it in the ledger."""

    def __init__(self, session: Session, entry: Entry):
        self._session, self._entry = session, entry

    def after_step(self, trainer: Trainer, report: StepReport) -> Changes | None:
        """Check for a request; return the shortened plan."""
        session, entry = self._session, self._entry
        request = cooldown_request(session.run)
        if not session.world.any(session.world.is_main and request.exists()):
            return None
        # The stage that is named may have ended since.
        is_meant = session.world.is_main and request.read_text().strip() == entry.name
        is_meant = session.world.broadcast(is_meant)
        done, total = report.progress.stage_step, trainer.plan.total_steps
        if is_meant and entry.actions:
            session.ui.warn(f"stage '{entry.name}' failed its gate before: no early cooldown")
            is_meant = False
        if is_meant and is_warming_up(trainer.plan, trainer.optim, done):
            return None  # the cooldown starts after the warm-up
        cut = None
        if is_meant and entry.cooldown_steps != total and done < total:
            cut = start_decay(trainer.plan, trainer.optim, done)
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
