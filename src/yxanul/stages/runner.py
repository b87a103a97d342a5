"""The training program: every stage in order, each ended by its gate.

`run_stage` opens a stage: its scores at the start, its plan, its micro-batches. `train_to_gate`
trains it, with what `callbacks.py` does around each step, until `pass_gate` lets it pass.
"""

from __future__ import annotations

from dataclasses import replace

from yxanul.base.errors import GateFailed, YxanulError
from yxanul.base.metric_names import domain_of, matching, task_of
from yxanul.checkpoint.layout import checkpoint_path
from yxanul.checkpoint.read import CheckpointDamaged
from yxanul.eval.run_tasks import TaskMetrics, described
from yxanul.eval.score import named
from yxanul.monitor.loss_history import LossHistory
from yxanul.optim.schedules import check_schedule
from yxanul.optim.sophia import Sophia
from yxanul.report.page import write_report
from yxanul.stages.callbacks import Scorer, stage_callbacks
from yxanul.stages.config import Extend, RaiseReplay, StageSettings, stage_optim
from yxanul.stages.gates import Evidence, Verdict, judge
from yxanul.stages.ledger import Action, AlertRollback, Entry
from yxanul.stages.measure import use_threads
from yxanul.stages.micro_batches import fit
from yxanul.stages.plan import (
    check_end,
    later_work,
    repeated_from,
    resolve_plan,
)
from yxanul.stages.replan import guess_tokens, warn_of_repeats
from yxanul.stages.session import Session, load_checkpoint, restore_engine
from yxanul.stages.summary import stage_facts, xz_bits_per_byte
from yxanul.train.curriculum import Plan
from yxanul.train.hessian import HessianEstimator
from yxanul.train.micro_batch import micro_rows_of, with_micro_rows
from yxanul.train.plan_changes import truncate
from yxanul.train.trainer import Trainer
from yxanul.train.watched_loader import WatchedLoader


def run_stages(session: Session) -> None:
    """Train all stages that have not passed their gate; raise GateFailed at the first failure."""
    reconcile_ledger(session)
    for index, stage in enumerate(session.recipe.stages):
        entry = session.ledger.entry(stage.name)
        if entry is None or entry.status != "passed":
            continues = False
            try:
                run_stage(session, index)
                continues = True
            finally:
                if session.world.is_main:
                    write_report(session.run, session.ui, is_running=continues)


def reconcile_ledger(session: Session) -> None:
    """Undo ledger entries about training that the loaded checkpoint does not contain.

    The checkpoint may be older than the ledger: newer ones are damaged or lost, or the run repeats
    that of the ledger. Plans, numbers of threads and actions are kept; the starting scores of
    stages that have not begun are cleared.
    """
    progress, names = session.progress, [stage.name for stage in session.recipe.stages]
    current = names.index(progress.stage) if progress.stage in names else -1
    previous_complete = True
    for entry in session.ledger.entries:
        if entry.name not in names:
            raise YxanulError(
                f"{session.run.ledger} is of a run with other stages",
                got=entry.name,
                expected=", ".join(names),
            )
        index = names.index(entry.name)
        unfinished = index == current and progress.stage_step < entry.steps
        if entry.status != "running" and (index > current or unfinished):
            session.ui.warn(f"resuming stage '{entry.name}': its last checkpoint is missing")
            entry.status = "running"
        # An entry's starting point is valid only if the stage before it is complete.
        if index > current + 1 or (index == current + 1 and not previous_complete):
            entry.at_start = {}
        previous_complete = not unfinished


def run_stage(session: Session, index: int) -> None:
    """Train one stage to its end and run its gate; the verdict is on disk before this returns."""
    session.stop_if_asked("stopped between two stages", "run the same command to resume")
    stage = session.recipe.stages[index]
    if session.progress.stage != stage.name:
        session.start_stage(stage.name)
    if index or stage.budget.needs_all_text:  # a later stage scores all held-out text first
        session.data.finish()
    scorer = Scorer(session, index)
    use_threads(session.ledger, stage.name, session.progress.stage_step)
    entry = session.ledger.entry(stage.name)
    if entry is None:
        entry = Entry(stage.name, "running", 0, 0, 0, {})
        session.ledger.entries.append(entry)
    if not entry.at_start:
        entry.at_start = named(scorer.score_at_start(stage.domains()))
        if any(map(task_of, stage.gate.metrics("start"))):
            entry.at_start |= score_tasks(session, scorer)[0]
        entry.first_step = session.progress.step
        entry.positions = dict(session.progress.cursor.positions)
    plan = record_plan(session, stage, entry)
    check_end(plan, stage, session.progress.stage_step)
    if session.progress.stage_step < plan.total_steps:
        plan = fit(session, plan, stage, entry)
    session.ledger.write()
    train_to_gate(session, index, plan, entry, scorer)


def train_to_gate(session: Session, index: int, plan: Plan, entry: Entry, scorer: Scorer) -> None:
    """Train a stage until its gate passes, with the actions that `on_fail` takes after failures.

    Actions that the ledger has from an earlier process are taken again at their steps.
    """
    stage = session.recipe.stages[index]
    trainer, rollback, stop_alert, micro_rows = None, None, None, micro_rows_of(plan)
    while True:
        done = session.progress.stage_step
        action = next((action for action in entry.actions if action.step == done), None)
        if action is None and done >= plan.total_steps:
            action = pass_gate(session, index, plan, entry, scorer)
            if action is None:
                return
            plan = record_plan(session, stage, entry)
        if action is not None and action.kind == "rollback":
            assert action.from_step is not None
            roll_back(session, entry, action.from_step)
            trainer = None
        end = min((a.step for a in entry.actions if a.step > done), default=plan.total_steps)
        entry.status = "running"
        if rollback is None:  # else the stage goes on as it was
            session.ui.say(_headline(session, plan, stage, entry))
        trainer = trainer or make_trainer(session, index, plan, entry, scorer)
        trainer.plan = with_micro_rows(truncate(plan, end), micro_rows)
        trainer.guessed, trainer.stop_alert = entry.is_guess, stop_alert
        try:
            trainer.run()
        finally:
            session.progress = trainer.progress
        micro_rows = micro_rows_of(trainer.plan)
        if end == plan.total_steps:
            plan = trainer.plan  # it may have been replanned or cut
        rollback = session.world.broadcast(trainer.rollback)
        if rollback is not None:
            roll_back_on_alert(session, entry, *rollback)
            stop_alert, trainer = trainer.stop_alert, None


def _headline(session: Session, plan: Plan, stage: StageSettings, entry: Entry) -> str:
    optim = stage_optim(session.recipe.optim, stage)
    engine, size = session.engine, session.world.size
    strategy = session.recipe.train.strategy.replace("auto", "ddp")
    devices = f" x {size} ({strategy})" if size > 1 else ""
    length = f"{plan.total_steps:,} steps, {plan.total_tokens:,} tokens"
    if entry.is_guess:
        length = f"{entry.minutes:g} minutes"
    return (
        f"stage '{stage.name}': {length}; {optim.name}, peak learning rate {optim.peak_lr:g};"
        f" {engine.mixed_precision.precision} on {session.device.type}{devices}"
    )


def record_plan(session: Session, stage: StageSettings, entry: Entry) -> Plan:
    """Return a stage's plan and record it in the ledger; reject a warm-up that does not fit."""
    minutes, done, attempts = stage.budget.minutes, session.progress.stage_step, len(stage.attempts)
    # An action that is still to be taken is dropped if the recipe no longer has it.
    entry.actions = [a for a in entry.actions if a.step < done or a.attempt < attempts]
    if minutes != entry.minutes:
        if minutes is not None:
            known = round(entry.budget_tokens * minutes / entry.minutes) if entry.minutes else None
            entry.minutes_tokens = known or guess_tokens(session, stage)
        entry.minutes, entry.replans, entry.verdict = minutes, [], None
    plan = resolve_plan(session.recipe, stage, entry, session.data.train_tokens)
    if session.data.is_whole and not entry.is_guess:  # else at the first replan or at the end
        warn_of_repeats(session, stage, plan, entry)
    starts = {curve.first_step for curve in plan.curves}
    entry.actions = [action for action in entry.actions if action.step in starts]
    entry.steps, entry.tokens = plan.total_steps, plan.total_tokens
    # Plans changed during training may end within the warm-up.
    if not plan.replanned and entry.cooldown_steps != plan.total_steps:
        optim = stage_optim(session.recipe.optim, stage)
        check_schedule(optim, total_steps=plan.total_steps, total_tokens=plan.total_tokens)
    return plan


def make_trainer(session: Session, index: int, plan: Plan, entry: Entry, scorer: Scorer) -> Trainer:
    """Build a stage's trainer; within a stage the optimizer state comes from the checkpoint."""
    engine, progress = session.engine, session.progress
    optim = stage_optim(session.recipe.optim, session.recipe.stages[index])
    engine.init_optimizer(optim, session.optimizer_state if progress.stage_step else None)
    session.startup.lap("model")
    session.optimizer_state = None
    return Trainer(
        engine=engine,
        loader=WatchedLoader(session.loader, session.alerts.batches),
        plan=plan,
        optim=optim,
        progress=progress,
        max_skipped_steps=session.recipe.train.max_skipped_steps,
        ui=session.ui,
        stop=session.stop,
        callbacks=stage_callbacks(session, index, plan, entry, scorer),
        skip_spikes=session.recipe.monitor.skipped_spikes,
        later_work=later_work(session.recipe, index, session.data.train_tokens),
        hessian=HessianEstimator(engine.optimizer, engine, session.recipe.seed)
        if isinstance(engine.optimizer, Sophia)
        else None,
    )


def pass_gate(
    session: Session, index: int, plan: Plan, entry: Entry, scorer: Scorer
) -> Action | None:
    """Score all domains so far and record the verdict.

    Return None if the gate passed, else the next action of `on_fail`; raise GateFailed if there is
    none left.
    """
    stage = session.recipe.stages[index]
    session.stop_if_asked(
        "stopped before a gate; the state is saved", "run the same command to resume"
    )
    has_warned = session.data.is_whole and not entry.is_guess
    session.data.finish()
    if not has_warned:
        warn_of_repeats(session, stage, plan, entry)
    evidence = gather_evidence(session, index, entry, scorer)
    verdict = judge(stage.gate, evidence)
    entry.at_end, entry.verdict = dict(evidence.at_end), verdict
    action = None if verdict.passed else next_action(session, stage, entry, verdict)
    entry.status = "passed" if verdict.passed else "running" if action else "failed"
    if action is not None:
        entry.actions.append(action)
    session.ledger.write()
    for finding in verdict.findings:
        session.ui.say(f"gate of stage '{entry.name}': {finding}")
    if action is not None:
        session.ui.say(f"stage '{entry.name}' failed its gate: {_described(action, stage)}")
    elif not verdict.passed:
        raise GateFailed(
            f"stage '{entry.name}' failed its gate",
            got="; ".join(map(str, verdict.failures)),
            hint=f"raise stages.{index}.budget (now {stage.budget}; trained: {plan.total_steps:,}"
            f" steps), or loosen stages.{index}.gate, and run the same command to resume",
            facts=stage_facts(session) | {"verdict": verdict.to_dict()},
        )
    return action


def next_action(
    session: Session, stage: StageSettings, entry: Entry, verdict: Verdict
) -> Action | None:
    """Return the next action that `on_fail` allows after a failed gate."""
    step, best = session.progress.stage_step, session.progress.best
    first = entry.actions[-1].attempt + 1 if entry.actions else 0
    replay = entry.actions[-1].replay if entry.actions else stage.replay
    failures = tuple(map(str, verdict.failures))
    for attempt, option in enumerate(stage.attempts[first:], first):
        if isinstance(option, Extend):
            tokens = round(option.share * entry.budget_tokens)
            if not isinstance(option, RaiseReplay):
                return Action("extend", step, attempt, tokens, replay, failures=failures)
            replay = max(replay, option.raise_to)
            return Action("replay", step, attempt, tokens, replay, failures=failures)
        from_step = best.step - entry.first_step if best is not None else step
        if from_step < step:
            plan = resolve_plan(session.recipe, stage, entry, session.data.train_tokens)
            start = repeated_from(entry.actions, from_step)
            tokens = plan.total_tokens - plan.tokens_after(start)
            action = Action("rollback", step, attempt, tokens, replay, failures=failures)
            return replace(action, from_step=from_step, lr_scale=option.lr_scale)
        session.ui.say(
            f"stage '{entry.name}': attempt {attempt + 1} of {len(stage.attempts)}, a rollback, is"
            " left out: the last checkpoint is the best"
        )
    return None


def _described(action: Action, stage: StageSettings) -> str:
    attempt = f"attempt {action.attempt + 1} of {len(stage.attempts)}"
    if action.from_step is not None:
        what = (
            f"returning to its step {action.from_step:,}, and training the {action.tokens:,} tokens"
            f" after it again with {action.lr_scale:g} times the learning rate"
        )
    else:
        what = f"extended by {action.tokens:,} tokens"
        if action.kind == "replay":
            what += f", {action.replay:.0%} of them from earlier stages"
    return f"{what} ({attempt})"


def roll_back_on_alert(session: Session, entry: Entry, alert: str, target: int) -> None:
    """Return to a checkpoint from before the spike that an alert reported, as PaLM's restarts did
    (arXiv 2204.02311, section 5.1); in a repeated run, to the step in its ledger."""
    done = session.progress.stage_step
    event = next((one for one in entry.rollbacks if one.step == done), None)
    if event is None:
        event = AlertRollback(done, target - entry.first_step, alert)
        entry.rollbacks.append(event)
        session.ledger.write()
    session.ui.say(
        f"{alert}: returning to the weights of step {event.from_step:,} of the stage; text and"
        " schedule go on"
    )
    roll_back(session, entry, event.from_step)


def roll_back(session: Session, entry: Entry, from_step: int) -> None:
    """Restore the weights and optimizer state of an earlier step; the data streams continue."""
    path = checkpoint_path(session.run.checkpoints, entry.first_step + from_step)
    try:
        weights, saved = load_checkpoint(path)
    except CheckpointDamaged as error:
        raise YxanulError(
            f"stage '{entry.name}' cannot return to its step {from_step:,}",
            got=error,
            hint="set the stage's on_fail, or the alert in monitor.alerts, to 'stop', and run the"
            " same command to resume",
        ) from None
    session.engine.load_weights(weights)
    restore_engine(session.engine, saved)
    session.optimizer_state = saved.optimizer_state
    session.progress = replace(session.progress, consecutive_skips=0, loss_history=LossHistory())


def gather_evidence(session: Session, index: int, entry: Entry, scorer: Scorer) -> Evidence:
    """Score all domains so far and collect the references that the gate's rules compare with."""
    *earlier, stage = session.recipe.stages[: index + 1]
    of_tasks, intervals = score_tasks(session, scorer)
    metrics = named(scorer.score(scorer.domains)) | of_tasks
    rules = (*stage.gate.rules, *stage.gate.targets)
    against_xz = [rule.metric for rule in rules if rule.against == "xz"]
    xz_metrics = {metric for pattern in against_xz for metric in matching(pattern, metrics)}
    references = {
        "start": entry.at_start,
        "best": session.ledger.best_metrics(before=entry.name),
        "xz": {
            metric: xz_bits_per_byte(session.data.folder / str(domain_of(metric)))
            for metric in xz_metrics
        },
    }
    known = {domain for one in earlier for domain in one.domains()}
    return Evidence(metrics, references, set(stage.domains()) - known, intervals)


def score_tasks(session: Session, scorer: Scorer) -> TaskMetrics:
    """Evaluate the tasks of a stage's gate."""
    measured, intervals = scorer.score_tasks(scorer.tasks, session.run.evaluations, session.ui)
    if measured:
        session.tracker.log(session.progress.step, measured)
        session.ui.say(f"tasks: {described(measured)}")
    return measured, intervals
