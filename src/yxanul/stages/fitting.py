"""A stage's plan made to fit into the memory there is, before its first step."""

from __future__ import annotations

import torch

from yxanul.base.machine import processor_name
from yxanul.base.seeds import derive_seed
from yxanul.optim.config import OptimSettings
from yxanul.stages.config import StageSettings
from yxanul.stages.ledger import Entry
from yxanul.stages.session import Session
from yxanul.train.curriculum import Plan
from yxanul.train.memory import dry_run
from yxanul.train.micro_batch import find_micro_rows, micro_rows_of, with_micro_rows


def fitted(
    session: Session, plan: Plan, stage: StageSettings, optim: OptimSettings, entry: Entry
) -> Plan:
    """Return the plan with micro-batches that fit; raise YxanulError if its largest phase does not.

    What was found stands in the ledger, so that a run that goes on is the same run.
    """
    asked = f"{session.recipe.train.micro_batch} on {session.world.size} x {_device(session)}"
    if entry.micro_rows_for == asked:
        plan = with_micro_rows(plan, entry.micro_rows)
    elif session.recipe.train.micro_batch == "auto" and session.device.type == "cuda":
        plan = _searched(session, plan, stage, optim)
    entry.micro_rows_for, entry.micro_rows = asked, micro_rows_of(plan)
    if session.engine.can_rehearse:
        dry_run(
            session.engine,
            plan,
            lambda: session.engine.make_optimizer(optim),
            _generator(session),
            steps_done=session.progress.stage_step,
            processes=session.world.size,
        )
    return plan


def _searched(session: Session, plan: Plan, stage: StageSettings, optim: OptimSettings) -> Plan:
    """Find the largest micro-batches; where the recipe gives rows, they are not exceeded."""
    engine = session.engine
    model, compiles = engine.twin.model, engine.twin.model.compiles
    model.compiles = False  # it takes no more memory compiled, but minutes for each size
    try:
        found = find_micro_rows(
            engine,
            plan,
            lambda: engine.make_optimizer(optim),
            _generator(session),
            world=session.world,
        )
    finally:
        model.compiles = compiles
    planned = micro_rows_of(plan)
    for index, phase in enumerate(stage.curriculum):
        if phase.rows is not None and index in found:
            found[index] = min(found[index], planned[index])
    sizes = ", ".join(f"{rows} rows in phase {index}" for index, rows in found.items())
    session.ui.say(f"micro-batches that fit: {sizes}")
    return with_micro_rows(plan, found)


def _device(session: Session) -> str:
    if session.device.type == "cuda":
        return torch.cuda.get_device_name(session.device)
    return processor_name() or "cpu"


def _generator(session: Session) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(session.recipe.seed, "dry run"))
