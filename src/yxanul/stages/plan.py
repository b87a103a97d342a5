"""Plan of a stage, from the recipe and the stage's ledger entry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from yxanul.base.errors import YxanulError
from yxanul.data.mix import exact_shares
from yxanul.recipe import Recipe
from yxanul.stages.config import StageSettings
from yxanul.stages.ledger import Action, Entry
from yxanul.text.config import CommonSettings
from yxanul.train.curriculum import Phase, Plan, make_plan
from yxanul.train.plan_changes import extend, repeat_from, replan, shorten


def resolve_plan(
    recipe: Recipe,
    stage: StageSettings,
    entry: Entry,
    available: Mapping[str, int],
    *,
    bounded: bool = True,
) -> Plan:
    """Return the plan of a stage: its budget with all changes recorded in the ledger.

    `available` has the training tokens of its sources: needed for epochs and `max_epochs`.
    With `bounded=False`, `max_epochs` is ignored, and if it leaves too little text for a guess.
    """
    plan = _plan_budget(recipe, stage, entry, available)
    for step, tokens, _ in entry.replans:
        whole = make_stage_plan(recipe, stage, tokens=tokens)
        plan = replan(plan, whole, step, by_share=stage.curriculum[-1].share is not None)
    # A cooldown and actions of a budget that has changed since are ignored.
    if entry.cooldown_steps is not None and entry.cooldown_of == plan.total_steps:
        plan = shorten(plan, entry.cooldown_steps)
    replay = {0: stage.replay}
    for number, action in enumerate(entry.actions):
        if action.step != plan.total_steps:
            break
        if action.from_step is None:
            plan = extend(plan, action.tokens)
        else:
            start = repeated_from(entry.actions[:number], action.from_step)
            plan = repeat_from(plan, start, action.lr_scale)
        replay[action.step] = action.replay
    if any(replay.values()):
        earlier = _earlier_mix(recipe, stage, available)
        plan = replace(plan, phases=tuple(_with_replay(p, replay, earlier) for p in plan.phases))
    bounds = bounds_of(plan, recipe.data.sources) if bounded else {}
    try:
        return cap_epochs(plan, bounds, available, entry.positions) if bounds else plan
    except YxanulError:
        if not entry.is_guess:
            raise
        return plan


def check_end(plan: Plan, stage: StageSettings, done: int) -> None:
    """Raise YxanulError if more steps of a stage are done than its plan has."""
    if done > plan.total_steps:
        raise YxanulError(
            f"stage '{stage.name}' is already past the end of its new budget",
            got=f"{done:,} steps done, {plan.total_steps:,} planned",
            hint="raise the budget; to end a stage with a wsd schedule early, use --cooldown-now",
        )


def repeated_from(earlier: Sequence[Action], from_step: int) -> int:
    """Return the step after which a rollback to `from_step` repeats the plan: where an earlier one
    to the same step began, as it has repeated the same steps at a higher learning rate."""
    steps = [action.step for action in earlier if action.from_step == from_step]
    return max(steps, default=from_step)


def _earlier_mix(
    recipe: Recipe, stage: StageSettings, available: Mapping[str, int]
) -> dict[str, Fraction]:
    """Return the mean mix of the stages before `stage`, as shares."""
    stages = recipe.stages[: [one.name for one in recipe.stages].index(stage.name)]
    weighted: list[tuple[Fraction, Mapping[str, Fraction]]] = []
    for one in stages:
        if isinstance(one.budget.epochs, dict):
            mixes = [epochs_of(one, available)[0]]
        else:
            mixes = [phase.mix or one.mix for phase in one.curriculum]
        weighted += [(Fraction(1, len(stages) * len(mixes)), exact_shares(m)) for m in mixes]
    return _weighted(weighted)


def _with_replay(
    phase: Phase, replay: Mapping[int, float], earlier: Mapping[str, Fraction]
) -> Phase:
    """Return a phase of which the share that holds from its first step is the earlier stages'."""
    share = Fraction(str(next(replay[n] for n in reversed(list(replay)) if n <= phase.first_step)))
    mix = _weighted([(1 - share, exact_shares(phase.mix)), (share, earlier)])
    scale = math.lcm(*(weight.denominator for weight in mix.values()))
    return replace(phase, mix={name: float(weight * scale) for name, weight in mix.items()})


def _weighted(mixes: list[tuple[Fraction, Mapping[str, Fraction]]]) -> dict[str, Fraction]:
    """Return the weighted sum of mixes, without zeros."""
    names = sorted({name for _, mix in mixes for name in mix})
    summed = {n: sum((w * mix.get(n, 0) for w, mix in mixes), Fraction(0)) for n in names}
    return {name: weight for name, weight in summed.items() if weight}


def make_stage_plan(
    recipe: Recipe, stage: StageSettings, *, steps: int | None = None, tokens: int | None = None
) -> Plan:
    """Return the plan of a stage that lasts `steps` optimizer steps or `tokens` target tokens."""
    clip = recipe.optim.grad_clip
    return make_plan(
        stage.curriculum, stage.mix, recipe.train, clip=clip, steps=steps, tokens=tokens
    )


def counted_plan(recipe: Recipe, stage: StageSettings) -> Plan | None:
    """Return the plan of a budget in steps or tokens; None for epochs and minutes, which depend on
    the data or the machine."""
    steps, tokens = stage.budget.steps, stage.budget.tokens
    counted = steps is not None or tokens is not None
    return make_stage_plan(recipe, stage, steps=steps, tokens=tokens) if counted else None


def _plan_budget(
    recipe: Recipe, stage: StageSettings, entry: Entry, available: Mapping[str, int]
) -> Plan:
    """Return the plan of a stage's budget; for minutes, by the first estimate of their tokens."""
    if (plan := counted_plan(recipe, stage)) is not None:
        return plan
    tokens = entry.minutes_tokens
    if stage.budget.epochs is not None:
        mix, tokens = epochs_of(stage, available)
        stage = stage.model_copy(update={"mix": mix})
    return make_stage_plan(recipe, stage, tokens=tokens)


def later_work(recipe: Recipe, index: int, available: Mapping[str, int]) -> tuple[int, float]:
    """Return the target tokens, and the seconds of budgets in minutes, planned for the stages after
    `index`; epochs count once all text is encoded."""
    tokens, seconds = 0, 0.0
    for stage in recipe.stages[index + 1 :]:
        plan = counted_plan(recipe, stage)
        if stage.budget.minutes is not None:
            seconds += 60 * stage.budget.minutes
        elif plan is not None:
            tokens += plan.total_tokens
        elif available:
            tokens += epochs_of(stage, available)[1]
    return tokens, seconds


def epochs_of(stage: StageSettings, available: Mapping[str, int]) -> tuple[dict[str, float], int]:
    """Return the mix and the tokens of a stage whose budget is in epochs; one is over when the
    first source of a mix has been read once."""
    epochs = stage.budget.epochs
    assert epochs is not None
    mix = stage.mix
    if isinstance(epochs, dict):
        mix = {name: passes * available[name] for name, passes in epochs.items() if passes}
        tokens = sum(mix.values())
    else:
        total = sum(mix.values())
        first = min(available[name] * total / weight for name, weight in mix.items() if weight)
        tokens = epochs * round(first)
    return mix, max(1, round(tokens / (1 - stage.replay)))


HARMLESS_EPOCHS = 4.0
"""Epochs up to which repeated text is nearly as useful as new text (Muennighoff et al. 2023,
"Scaling Data-Constrained Language Models")."""


def tokens_by_source(plan: Plan) -> dict[str, float]:
    """Return the tokens of each source that a plan reads, accurate to one row."""
    tokens: dict[str, float] = {}
    for phase in plan.phases:
        for name, share in exact_shares(phase.mix).items():
            tokens[name] = tokens.get(name, 0.0) + float(share * phase.num_tokens)
    return tokens


def bounds_of(plan: Plan, sources: Mapping[str, CommonSettings]) -> dict[str, float]:
    """Return the `max_epochs` of the sources that a plan reads, where set."""
    used = sorted(tokens_by_source(plan))
    bounds = {name: sources[name].max_epochs for name in used}
    return {name: epochs for name, epochs in bounds.items() if epochs is not None}


def cap_epochs(
    plan: Plan, room: Mapping[str, float], available: Mapping[str, int], seen: Mapping[str, int]
) -> Plan:
    """Return a plan in which no source is read beyond its bound.

    `room` has the bound of each bounded source in epochs, `available` its tokens, `seen` those
    that were read before the plan. Once a source has reached its bound, a phase continues without
    it; the other sources keep their relative weights.
    """
    # The mix may overshoot a source's exact share by up to one of the longest rows.
    longest = max((phase.seq_len for phase in plan.phases), default=0)
    left = {n: room[n] * available[n] - seen.get(n, 0) - longest for n in room}
    phases: list[Phase] = []
    for phase in plan.phases:
        while phase.num_steps:
            mix = _within_bounds(phase, left)
            read = {n: s * phase.step_tokens for n, s in exact_shares(mix).items() if n in left}
            # One step fits: a rounding error must not give 0.
            fitting = [max(1, math.floor(left[n] / float(read[n]))) for n in read]
            steps = min([phase.num_steps, *fitting])
            phases.append(replace(phase, mix=mix, num_steps=steps))
            for name in read:
                left[name] -= float(read[name] * steps)
            phase = replace(
                phase, first_step=phase.first_step + steps, num_steps=phase.num_steps - steps
            )
    return replace(plan, phases=tuple(phases))


def _within_bounds(phase: Phase, left: Mapping[str, float]) -> dict[str, float]:
    """Return the phase's mix without the sources that cannot supply another step."""
    mix = {name: weight for name, weight in phase.mix.items() if weight}
    while mix:
        needs = {n: float(s * phase.step_tokens) for n, s in exact_shares(mix).items()}
        exhausted = [n for n in mix if left.get(n, math.inf) < needs[n]]
        if not exhausted:
            return mix
        mix = {name: weight for name, weight in mix.items() if name not in exhausted}
    raise YxanulError(
        "max_epochs leaves too little text for the stage",
        got=f"all sources exhausted at step {phase.first_step}: {', '.join(sorted(phase.mix))}",
        hint="raise max_epochs, shorten the budget, or add text",
    )


def repeats(plan: Plan, available: Mapping[str, int], seen: Mapping[str, int]) -> dict[str, float]:
    """Return the epochs of each source at the end of a plan."""
    return {
        name: (seen.get(name, 0) + tokens) / available[name]
        for name, tokens in tokens_by_source(plan).items()
    }
