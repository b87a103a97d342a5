"""The program: stage after stage, each ended by its gate."""

from __future__ import annotations

from yxanul.base.errors import GateFailed, YxanulError
from yxanul.base.metric_names import domain_of, matching
from yxanul.eval.score import named
from yxanul.optim.config import OptimSettings
from yxanul.optim.schedules import check_schedule
from yxanul.optim.sophia import Sophia
from yxanul.stages.callbacks import Scorer, stage_callbacks
from yxanul.stages.config import StageSettings, stage_optim
from yxanul.stages.gates import Evidence, judge
from yxanul.stages.ledger import Entry
from yxanul.stages.micro_batches import fit
from yxanul.stages.plan import bounds_of, repeats, resolve_plan
from yxanul.stages.replan import guess_tokens, warn_of_repeats
from yxanul.stages.session import Session
from yxanul.stages.summary import stage_facts, xz_bits_per_byte
from yxanul.train.curriculum import Plan
from yxanul.train.hessian import HessianEstimator
from yxanul.train.micro_batch import micro_rows_of, with_micro_rows
from yxanul.train.trainer import Trainer


def run_stages(session: Session) -> None:
    """Train every stage that has not passed its gate; raise GateFailed at the first that fails."""
    reconcile_ledger(session)
    for index, stage in enumerate(session.recipe.stages):
        entry = session.ledger.entry(stage.name)
        if entry is None or entry.status != "passed":
            run_stage(session, index)


def reconcile_ledger(session: Session) -> None:
    """Take back what the ledger says of work that the loaded checkpoint does not hold.

    A checkpoint may be lost or damaged after a verdict on it was written down.
    """
    progress, names = session.progress, [stage.name for stage in session.recipe.stages]
    at = names.index(progress.stage) if progress.stage in names else -1
    kept = []
    for entry in session.ledger.entries:
        index = names.index(entry.name)
        unfinished = index == at and progress.stage_step < entry.steps
        if entry.status != "running" and (index > at or unfinished):
            session.ui.warn(f"stage '{entry.name}' goes on: its last checkpoint is not there")
            entry.status = "running"
        # What a stage began from is true only if the stage before it is whole.
        whole_before = index <= at or (index == at + 1 and not (kept and kept[-1][1]))
        if not whole_before:
            break
        kept.append((entry, unfinished))
    session.ledger.entries = [entry for entry, _ in kept]


def run_stage(session: Session, index: int) -> None:
    """Train one stage to its end and judge it; the verdict is on disk before this returns."""
    session.stop_if_asked("stopped between two stages", "the same command goes on")
    stage = session.recipe.stages[index]
    if session.progress.stage != stage.name:
        session.begin_stage(stage.name)
    if index or stage.budget.needs_all_text:  # a later stage scores all held-out text first
        session.data.finish()
    optim = stage_optim(session.recipe.optim, stage)
    scorer = Scorer(session, index)
    entry = session.ledger.entry(stage.name)
    if entry is None:
        first_step, at_start = session.progress.step, named(scorer.score_at_start(stage.domains()))
        seen = dict(session.progress.cursor.positions)
        entry = Entry(stage.name, "running", 0, 0, first_step, at_start, seen)
        session.ledger.entries.append(entry)
    plan = settle_plan(session, stage, entry)
    if session.progress.stage_step > plan.total_steps:
        raise YxanulError(
            f"stage '{stage.name}' has done more steps than its budget has now",
            got=f"{session.progress.stage_step:,} done, {plan.total_steps:,} planned",
            hint="give it at least as many; --cooldown-now ends a schedule of wsd early",
        )
    if session.progress.stage_step < plan.total_steps:
        plan = fit(session, plan, stage, optim, entry)
    session.ledger.write()
    if session.progress.stage_step == 0:
        session.watch.reset()  # another mix has another loss: that is no spike
    trainer = None
    while True:
        if session.progress.stage_step < plan.total_steps:
            entry.status = "running"
            session.ui.say(_headline(session, plan, stage, optim))
            trainer = trainer or make_trainer(session, index, plan, entry, scorer)
            trainer.plan = plan
            try:
                trainer.run()
            finally:
                session.position.progress = trainer.progress
        session.stop_if_asked("stopped before a gate; the state is saved", "run it again")
        is_told = session.data.is_whole and (stage.budget.minutes is None or entry.replans)
        session.data.finish()
        if not is_told:
            warn_of_repeats(session, plan, entry)
        if pass_gate(session, index, entry, scorer):
            return
        micro_rows = micro_rows_of(trainer.plan if trainer else plan)
        plan = with_micro_rows(settle_plan(session, stage, entry), micro_rows)


def _headline(session: Session, plan: Plan, stage: StageSettings, optim: OptimSettings) -> str:
    """Say in a line what is about to be trained, and how."""
    engine, size = session.engine, session.world.size
    with_others = f" x {size} ({session.recipe.train.strategy})" if size > 1 else ""
    return (
        f"stage '{stage.name}': {plan.total_steps:,} steps, {plan.total_tokens:,} tokens;"
        f" {optim.name}, peak rate {optim.peak_lr:g};"
        f" {engine.mixed_precision.precision} on {session.device.type}{with_others}"
    )


def settle_plan(session: Session, stage: StageSettings, entry: Entry) -> Plan:
    """Return the plan of a stage, as the ledger then says; refuse a warm-up that does not fit."""
    minutes, available = stage.budget.minutes, session.data.train_tokens
    if minutes is not None and entry.minutes != minutes:
        known = round(entry.tokens * minutes / entry.minutes) if entry.minutes else None
        entry.minutes_tokens = known or guess_tokens(session, stage)
        entry.minutes, entry.replans = minutes, []
    early = not session.data.is_whole  # then no source has a bound, and the gate will warn
    asked = resolve_plan(session.recipe, stage, entry, available, bounded=False)
    plan = asked if early else resolve_plan(session.recipe, stage, entry, available)
    if not early:
        _warn_of_bounds(session, asked, entry)
    if not early and (minutes is None or entry.replans):  # else the figure is a first guess
        warn_of_repeats(session, plan, entry)
    entry.steps, entry.tokens = plan.total_steps, plan.total_tokens
    if (
        not plan.replanned and entry.cooldown_steps != plan.total_steps
    ):  # those may come down at their warm-up
        optim = stage_optim(session.recipe.optim, stage)
        check_schedule(optim, total_steps=plan.total_steps, total_tokens=plan.total_tokens)
    return plan


def _warn_of_bounds(session: Session, asked: Plan, entry: Entry) -> None:
    """Warn of sources that `max_epochs` keeps a plan from reading."""
    bounds = bounds_of(asked, session.recipe.data.sources)
    read = repeats(asked, session.data.train_tokens, entry.positions)
    for name, bound in bounds.items():
        if read[name] > bound:
            session.ui.warn(
                f"'{name}' would be read {read[name]:.1f} times; after {bound:g} (max_epochs) the"
                " rest of the mix takes its share"
            )


def make_trainer(session: Session, index: int, plan: Plan, entry: Entry, scorer: Scorer) -> Trainer:
    """Put a trainer together; within a stage the optimizer goes on from the checkpoint."""
    engine, position = session.engine, session.position
    optim = stage_optim(session.recipe.optim, session.recipe.stages[index])
    engine.init_optimizer(optim, position.optimizer_state if position.progress.stage_step else None)
    session.startup.lap("model")
    position.optimizer_state = None
    return Trainer(
        engine=engine,
        loader=session.loader,
        plan=plan,
        optim=optim,
        progress=session.progress,
        max_skipped_steps=session.recipe.train.max_skipped_steps,
        ui=session.ui,
        stop=session.stop,
        callbacks=stage_callbacks(session, index, entry, scorer),
        skip_spikes=session.recipe.train.skip_spikes,
        hessian=HessianEstimator(engine.optimizer, engine, session.recipe.seed)
        if isinstance(engine.optimizer, Sophia)
        else None,
    )


def pass_gate(session: Session, index: int, entry: Entry, scorer: Scorer) -> bool:
    """Score all domains so far and write the verdict down. False: the stage was given more to
    train, as its `on_fail` says; raise GateFailed where it does not."""
    stage, evidence = session.recipe.stages[index], gather_evidence(session, index, entry, scorer)
    verdict = judge(stage.gate, evidence)
    entry.judged(dict(evidence.at_end), verdict)
    more = 0 if verdict.passed else _extend(entry, stage)
    session.ledger.write()
    for finding in verdict.findings:
        session.ui.say(f"gate of stage '{entry.name}': {finding}")
    if more:
        session.ui.say(f"stage '{entry.name}' did not pass its gate: {more:,} tokens more")
    elif not verdict.passed:
        raise GateFailed(
            f"stage '{entry.name}' did not pass its gate",
            got="; ".join(map(str, verdict.failures)),
            hint=f"give it more with stages.{index}.budget=..., or loosen stages.{index}.gate,"
            " and run the same command again: it goes on from here",
            facts=stage_facts(session) | {"verdict": verdict.to_dict()},
        )
    return verdict.passed


def gather_evidence(session: Session, index: int, entry: Entry, scorer: Scorer) -> Evidence:
    """Score all domains so far, beside what the rules of the stage's gate are against."""
    *earlier, stage = session.recipe.stages[: index + 1]
    metrics = named(scorer.score(scorer.domains))
    folder = session.run.data(session.recipe.data.folder)
    against_xz = [rule.metric for rule in stage.gate.rules if rule.against == "xz"]
    asked = {metric for pattern in against_xz for metric in matching(pattern, metrics)}
    references = {
        "start": entry.at_start,
        "best": session.ledger.best_metrics(before=entry.name),
        "xz": {metric: xz_bits_per_byte(folder / str(domain_of(metric))) for metric in asked},
    }
    known = {domain for one in earlier for domain in one.domains()}
    return Evidence(metrics, references, set(stage.domains()) - known)


def _extend(entry: Entry, stage: StageSettings) -> int:
    """Give a stage more tokens where its `on_fail` still allows it; return how many."""
    if stage.on_fail == "stop" or len(entry.extensions) >= stage.on_fail.extend.times:
        return 0
    more = round(stage.on_fail.extend.share * (entry.tokens - entry.extended_tokens))
    entry.extensions.append((entry.steps, more))
    entry.status = "running"
    return more
