"""Plan of a stage, from the recipe and the stage's ledger entry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from yxanul.base.errors import YxanulError
from yxanul.data.mix import exact_shares
from yxanul.optim.config import OptimSettings
from yxanul.recipe import Recipe
from yxanul.stages.config import StageSettings, stage_optim
from yxanul.stages.ledger import Action, Entry
from yxanul.text.config import CommonSettings
from yxanul.train.config import TrainSettings
from yxanul.train.curriculum import Phase, Plan, make_plan
from yxanul.train.plan_changes import cut_plan, extend, repeat_from, replan


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
    With `bounded=False`, `max_epochs` is ignored.
    """
    train, optim = recipe.train, stage_optim(recipe.optim, stage)
    plan = _plan_budget(stage, train, optim, available, entry.minutes_tokens)
    for step, tokens, _ in entry.replans:
        whole = plan_tokens(stage, train, optim, tokens)
        plan = replan(plan, whole, step, by_share=stage.curriculum[-1].share is not None)
    # A cooldown and actions of a budget that has changed since are ignored.
    plan, replay = _cooled(plan, entry), {0: stage.replay}
    for number, action in enumerate(entry.actions):
        if action.step == plan.total_steps:
            plan = _after(plan, action, entry.actions[:number])
            replay[action.step] = action.replay
    if any(replay.values()):
        earlier = _earlier_mix(recipe, stage, available)
        plan = replace(plan, phases=tuple(_with_replay(p, replay, earlier) for p in plan.phases))
    bounds = bounds_of(plan, recipe.data.sources) if bounded else {}
    return cap_epochs(plan, bounds, available, entry.positions) if bounds else plan


def check_end(plan: Plan, stage: StageSettings, done: int) -> None:
    """Raise YxanulError if more steps of a stage are done than its plan has."""
    if done > plan.total_steps:
        raise YxanulError(
            f"stage '{stage.name}' is already past the end of its new budget",
            got=f"{done:,} steps done, {plan.total_steps:,} planned",
            hint="raise the budget; to end a stage with a wsd schedule early, use --cooldown-now",
        )


def _cooled(plan: Plan, entry: Entry) -> Plan:
    """Apply an early cooldown, if it was requested for a plan of this length."""
    if entry.cooldown_steps is None or entry.cooldown_of != plan.total_steps:
        return plan
    return cut_plan(plan, entry.cooldown_steps)


def _after(plan: Plan, action: Action, earlier: Sequence[Action]) -> Plan:
    if action.from_step is None:
        return extend(plan, action.tokens)
    return repeat_from(plan, repeated_from(earlier, action.from_step), action.lr_scale)


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
        mixes = _mixes(one, available)
        weighted += [(Fraction(1, len(stages) * len(mixes)), exact_shares(m)) for m in mixes]
    return _weighted(weighted)


def _mixes(stage: StageSettings, available: Mapping[str, int]) -> list[dict[str, float]]:
    """Return the mixes of a stage's phases, without replay."""
    if isinstance(stage.budget.epochs, dict):
        return [epochs_of(stage, available)[0]]
    return [phase.mix or stage.mix for phase in stage.curriculum]


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


def plan_steps(
    stage: StageSettings, train: TrainSettings, optim: OptimSettings, steps: int
) -> Plan:
    """Return the plan of a stage that lasts `steps` optimizer steps."""
    return make_plan(stage.curriculum, stage.mix, train, clip=optim.grad_clip, steps=steps)


def plan_tokens(
    stage: StageSettings, train: TrainSettings, optim: OptimSettings, tokens: int
) -> Plan:
    """Return the plan of a stage that lasts `tokens` target tokens."""
    return make_plan(stage.curriculum, stage.mix, train, clip=optim.grad_clip, tokens=tokens)


def counted_plan(stage: StageSettings, train: TrainSettings, optim: OptimSettings) -> Plan | None:
    """Return the plan of a budget in steps or tokens; None for epochs and minutes, which depend on
    the data or the machine."""
    if stage.budget.steps is not None:
        return plan_steps(stage, train, optim, stage.budget.steps)
    if stage.budget.tokens is not None:
        return plan_tokens(stage, train, optim, stage.budget.tokens)
    return None


def _plan_budget(
    stage: StageSettings,
    train: TrainSettings,
    optim: OptimSettings,
    available: Mapping[str, int],
    minutes_tokens: int | None,
) -> Plan:
    """Return the plan of a stage's budget; `minutes_tokens` is the first estimate of the
    tokens its minutes allow."""
    if (plan := counted_plan(stage, train, optim)) is not None:
        return plan
    if stage.budget.epochs is not None:
        mix, tokens = epochs_of(stage, available)
        return plan_tokens(stage.model_copy(update={"mix": mix}), train, optim, tokens)
    assert minutes_tokens is not None
    return plan_tokens(stage, train, optim, minutes_tokens)


def later_work(recipe: Recipe, index: int, available: Mapping[str, int]) -> tuple[int, float]:
    """Return the target tokens, and the seconds of budgets in minutes, planned for the stages after
    `index`; epochs count once all text is encoded."""
    tokens, seconds = 0, 0.0
    for stage in recipe.stages[index + 1 :]:
        plan = counted_plan(stage, recipe.train, stage_optim(recipe.optim, stage))
        if stage.budget.minutes is not None:
            seconds += 60 * stage.budget.minutes
        elif plan is not None:
            tokens += plan.total_tokens
        elif available:
            tokens += epochs_of(stage, available)[1]
    return tokens, seconds


def epoch_tokens(mix: Mapping[str, float], available: Mapping[str, int]) -> int:
    """Return the tokens after which the first source of a mix has been read once."""
    total = sum(mix.values())
    return round(min(available[name] * total / weight for name, weight in mix.items() if weight))


def epochs_of(stage: StageSettings, available: Mapping[str, int]) -> tuple[dict[str, float], int]:
    """Return the mix and the tokens of a stage whose budget is in epochs."""
    epochs = stage.budget.epochs
    assert epochs is not None
    mix = stage.mix
    if isinstance(epochs, dict):
        mix = {name: passes * available[name] for name, passes in epochs.items() if passes}
        tokens = sum(mix.values())
    else:
        tokens = epochs * epoch_tokens(mix, available)
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
    for phase in plan.phases if left else ():
        while phase.num_steps:
            mix = _within_bounds(phase, left)
            steps = min(phase.num_steps, _steps_until_a_bound(mix, left, phase))
            phases.append(replace(phase, mix=mix, num_steps=steps))
            for name, share in exact_shares(mix).items():
                if name in left:
                    left[name] -= float(share * steps * phase.step_tokens)
            phase = replace(
                phase, first_step=phase.first_step + steps, num_steps=phase.num_steps - steps
            )
    return replace(plan, phases=tuple(phases)) if left else plan


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


def _steps_until_a_bound(mix: Mapping[str, float], left: Mapping[str, float], phase: Phase) -> int:
    """Return the number of steps until the first source reaches its bound, at least 1."""
    steps = [
        left[name] / float(share * phase.step_tokens)
        for name, share in exact_shares(mix).items()
        if name in left
    ]
    # `_within_bounds` made sure that one step fits; a rounding error must not give 0.
    return max(1, math.floor(min(steps, default=phase.num_steps)))


def repeats(plan: Plan, available: Mapping[str, int], seen: Mapping[str, int]) -> dict[str, float]:
    """Return the epochs of each source at the end of a plan."""
    return {
        name: (seen.get(name, 0) + tokens) / available[name]
        for name, tokens in tokens_by_source(plan).items()
    }
