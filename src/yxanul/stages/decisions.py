"""Which precision `auto` comes to on this machine: measured once a run, and kept in its ledger."""

from __future__ import annotations

import copy
from dataclasses import replace

from yxanul.base.ui import SilentUi, Ui
from yxanul.model.language_model import LanguageModel
from yxanul.recipe import Recipe
from yxanul.stages.budget import plan_steps, step_seconds
from yxanul.stages.config import stage_optim
from yxanul.stages.ledger import Ledger
from yxanul.train.config import PRECISIONS_OF
from yxanul.train.curriculum import Phase
from yxanul.train.engine import make_twin
from yxanul.train.memory import largest_phase
from yxanul.train.precision.decide import measure_precisions, precision_candidates

_MANY_STEPS = 1_000_000_000


def decide_precision(
    ledger: Ledger, recipe: Recipe, model: LanguageModel, processes: int, ui: Ui
) -> str:
    """Return the precision to train in; what `auto` came to is the same when a run goes on."""
    train = recipe.train
    asked = train.precision + (" without fp8" if train.fp8.engine == "none" else "")
    if ledger.decisions.get("asked_precision") != asked:
        device = model.embedding.tokens.device
        candidates = precision_candidates(train, model.settings, device)
        if processes > 1 and train.strategy in PRECISIONS_OF:
            candidates = [name for name in candidates if name in PRECISIONS_OF[train.strategy]]
        decision = measure_precisions(candidates, lambda name: _seconds(model, recipe, name))
        ledger.decisions |= {"asked_precision": asked, "precision": decision.precision}
        if decision.line:
            ledger.decisions["precision_measured"] = decision.to_dict()
            ui.say(decision.line)
        ledger.write()
    return ledger.decisions["precision"]


def _seconds(model: LanguageModel, recipe: Recipe, precision: str) -> float:
    """Time a step of one micro-batch of the recipe's largest phase."""
    optim, phase = recipe.optim, _largest_phase(recipe)
    twin = make_twin(copy.deepcopy(model), recipe.train, precision, SilentUi())
    return step_seconds(twin, optim, replace(phase, rows=phase.micro_rows))


def _largest_phase(recipe: Recipe) -> Phase:
    phases = [
        largest_phase(
            plan_steps(stage, recipe.train, stage_optim(recipe.optim, stage), _MANY_STEPS)
        )
        for stage in recipe.stages
    ]
    return max(phases, key=lambda phase: (phase.micro_rows * phase.seq_len, phase.seq_len))
