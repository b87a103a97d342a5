"""Fitting a stage's micro-batches into device memory before its first step."""

from __future__ import annotations

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.machine import processor_name
from yxanul.optim.config import OptimSettings
from yxanul.stages.config import StageSettings, stage_optim
from yxanul.stages.ledger import Entry
from yxanul.stages.session import Session
from yxanul.train.curriculum import Plan
from yxanul.train.memory import dry_run, largest_phase, too_large
from yxanul.train.micro_batch import find_micro_rows, micro_rows_of, with_micro_rows


def fit(session: Session, plan: Plan, stage: StageSettings, entry: Entry) -> Plan:
    """Return the plan with micro-batches that fit; raise YxanulError if the largest phase does not.

    The sizes are kept in the ledger, so that a resumed run uses the same ones.
    """
    optim = stage_optim(session.recipe.optim, stage)
    key = session.world.broadcast(_cache_key(session, plan))
    is_auto = session.recipe.train.micro_batch_size == "auto" and session.device.type == "cuda"
    if entry.micro_rows_for == key:
        plan = with_micro_rows(plan, entry.micro_rows)
    elif is_auto and session.engine.can_probe:
        plan = _with_largest_rows(session, plan, stage, optim)
    entry.micro_rows_for, entry.micro_rows = key, micro_rows_of(plan)
    if session.engine.can_probe:
        _dry_run(session, plan, optim)
    return plan


def _dry_run(session: Session, plan: Plan, optim: OptimSettings) -> None:
    """Dry-run the largest remaining phase; raise on all ranks if it fails on any."""
    failure, done = None, session.progress.stage_step
    with session.engine.probe() as engine:
        try:
            dry_run(engine, plan, optim, steps_done=done, processes=session.world.size)
        except YxanulError as error:
            failure = error
    if session.world.any(failure is not None):
        phase = largest_phase(plan, done, session.world.size)
        raise failure or too_large(phase, session.device, session.world.size)


def _with_largest_rows(
    session: Session, plan: Plan, stage: StageSettings, optim: OptimSettings
) -> Plan:
    """Find the largest micro-batches that fit, at most the phase's `device_batch_size`."""
    with session.engine.probe() as engine:
        model, compiles = engine.mixed_precision.model, engine.mixed_precision.model.compiles
        model.compiles = False  # compiling takes minutes per size and needs no more memory
        try:
            rows = find_micro_rows(engine, plan, optim, session.world)
        finally:
            model.compiles = compiles
    planned = micro_rows_of(plan)
    for index, phase in enumerate(stage.curriculum):
        if phase.device_batch_size is not None and index in rows:
            rows[index] = min(rows[index], planned[index])
    sizes = ", ".join(f"{number} rows in phase {index}" for index, number in rows.items())
    session.ui.say(f"micro-batches that fit: {sizes}")
    return with_micro_rows(plan, rows)


def _cache_key(session: Session, plan: Plan) -> str:
    """Return everything that micro-batch sizes depend on, in one line."""
    train, world = session.recipe.train, session.world
    on_gpu = session.device.type == "cuda"
    device = torch.cuda.get_device_name(session.device) if on_gpu else processor_name() or "cpu"
    shapes = " ".join(dict.fromkeys(f"{phase.rows}x{phase.seq_len}" for phase in plan.phases))
    how = (
        f"{session.engine.mixed_precision.precision}, checkpointing {train.gradient_checkpointing}"
    )
    return f"{train.micro_batch_size} of {shapes} in {how} on {world.size} x {device}"
