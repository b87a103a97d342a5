"""What a stage will do: its plan, from the recipe and what the ledger holds of the stage."""

from __future__ import annotations

from collections.abc import Mapping

from yxanul.optim.config import OptimSettings
from yxanul.recipe import Recipe
from yxanul.stages.config import StageSettings, stage_optim
from yxanul.stages.ledger import Entry
from yxanul.stages.repeats import bounded_plan, bounds_of
from yxanul.train.config import TrainSettings
from yxanul.train.curriculum import Plan, cut_plan, extend, make_plan, replan


def resolve_plan(
    recipe: Recipe,
    stage: StageSettings,
    entry: Entry,
    available: Mapping[str, int],
    *,
    bounded: bool = True,
) -> Plan:
    """Return the plan of a stage: its budget, and every change of it that stands in the ledger.

    `available` has the training tokens of its sources: needed for epochs and `max_epochs`.
    With `bounded=False` sources are read beyond their `max_epochs`.
    """
    train, optim = recipe.train, stage_optim(recipe.optim, stage)
    plan = _plan_budget(stage, train, optim, available, entry.minutes_tokens)
    for step, tokens in entry.replans:
        whole = plan_tokens(stage, train, optim, tokens)
        plan = replan(plan, whole, step, by_share=stage.curriculum[-1].share is not None)
    # What was decided about another budget than this one is void.
    if entry.cooldown_steps is not None and entry.cooldown_of == plan.total_steps:
        plan = cut_plan(plan, entry.cooldown_steps)
    for step, tokens in entry.extensions:
        if step == plan.total_steps:
            plan = extend(plan, tokens)
    bounds = bounds_of(plan, recipe.data.sources) if bounded else {}
    return bounded_plan(plan, bounds, available, entry.positions) if bounds else plan


def plan_steps(
    stage: StageSettings, train: TrainSettings, optim: OptimSettings, steps: int
) -> Plan:
    """Return the plan of a stage that lasts `steps` updates."""
    return make_plan(stage.curriculum, stage.mix, train, clip=optim.grad_clip, steps=steps)


def plan_tokens(
    stage: StageSettings, train: TrainSettings, optim: OptimSettings, tokens: int
) -> Plan:
    """Return the plan of a stage that lasts `tokens` target tokens."""
    return make_plan(stage.curriculum, stage.mix, train, clip=optim.grad_clip, tokens=tokens)


def _plan_budget(
    stage: StageSettings,
    train: TrainSettings,
    optim: OptimSettings,
    available: Mapping[str, int],
    minutes_tokens: int | None,
) -> Plan:
    """Return the plan of a stage's budget; `minutes_tokens` is what its minutes were thought to
    come to before its first step."""
    wanted = stage.budget
    if wanted.steps is not None:
        return plan_steps(stage, train, optim, wanted.steps)
    if wanted.epochs is not None:
        mix, tokens = epochs_of(stage, available)
        return plan_tokens(stage.model_copy(update={"mix": mix}), train, optim, tokens)
    tokens = wanted.tokens if wanted.tokens is not None else minutes_tokens
    assert tokens is not None
    return plan_tokens(stage, train, optim, tokens)


def epoch_tokens(mix: Mapping[str, float], available: Mapping[str, int]) -> int:
    """Return the tokens after which the first source of a mix has been seen once."""
    total = sum(mix.values())
    return round(min(available[name] * total / weight for name, weight in mix.items() if weight))


def epochs_of(stage: StageSettings, available: Mapping[str, int]) -> tuple[dict[str, float], int]:
    """Return the mix and the tokens of a stage whose budget is in epochs."""
    epochs = stage.budget.epochs
    assert epochs is not None
    if isinstance(epochs, dict):
        mix = {name: passes * available[name] for name, passes in epochs.items() if passes}
        return mix, max(1, round(sum(mix.values())))
    return stage.mix, max(1, round(epochs * epoch_tokens(stage.mix, available)))
