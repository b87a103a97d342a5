"""How often a stage sees each source: what the mix comes to, and its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from yxanul.base.errors import YxanulError
from yxanul.data.mix import exact_shares
from yxanul.text.config import CommonSettings
from yxanul.train.curriculum import Phase, Plan

HARMLESS_EPOCHS = 4.0
"""Up to so many passes over a text teach nearly as much as new text would (Muennighoff et al.
2023, "Scaling data-constrained language models")."""


def tokens_by_source(plan: Plan) -> dict[str, float]:
    """Return how many tokens of each source a plan reads, but for the last row."""
    tokens: dict[str, float] = {}
    for phase in plan.phases:
        for name, share in exact_shares(phase.mix).items():
            tokens[name] = tokens.get(name, 0.0) + float(share * phase.num_tokens)
    return tokens


def bounds_of(plan: Plan, sources: Mapping[str, CommonSettings]) -> dict[str, float]:
    """Return the bounds, in epochs, of the sources that a plan reads."""
    used = sorted(tokens_by_source(plan))
    bounds = {name: sources[name].max_epochs for name in used}
    return {name: epochs for name, epochs in bounds.items() if epochs is not None}


def bounded_plan(
    plan: Plan, room: Mapping[str, float], available: Mapping[str, int], seen: Mapping[str, int]
) -> Plan:
    """Return a plan in which no source is read beyond its bound.

    `room` has the bound of each bounded source in epochs, `available` its tokens, `seen` those
    that were read before the plan. Where a source has reached its bound, a phase goes on without
    it: the others keep their weights to each other.
    """
    # What the mix owes a source at the end may be one of the longest rows.
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
    """Return the phase's mix without the sources that have no room for another step."""
    mix = {name: weight for name, weight in phase.mix.items() if weight}
    while mix:
        needs = {n: float(s * phase.step_tokens) for n, s in exact_shares(mix).items()}
        full = [n for n in mix if left.get(n, math.inf) < needs[n]]
        if not full:
            return mix
        mix = {name: weight for name, weight in mix.items() if name not in full}
    raise YxanulError(
        "the bounds of max_epochs leave too little text for the stage",
        found=f"at step {phase.first_step} nothing is left of {', '.join(sorted(phase.mix))}",
        hint="raise max_epochs, shorten the budget, or add text",
    )


def _steps_until_a_bound(mix: Mapping[str, float], left: Mapping[str, float], phase: Phase) -> int:
    """Return after how many steps the first source has no room for another one: 1 at least."""
    steps = [
        left[name] / float(share * phase.step_tokens)
        for name, share in exact_shares(mix).items()
        if name in left
    ]
    # There is room for one, as `_within_bounds` saw; a rounding error must not say otherwise.
    return max(1, math.floor(min(steps, default=phase.num_steps)))


def repeats(plan: Plan, available: Mapping[str, int], seen: Mapping[str, int]) -> dict[str, float]:
    """Return how often each source of a plan has been read at its end, in epochs."""
    return {
        name: (seen.get(name, 0) + tokens) / available[name]
        for name, tokens in tokens_by_source(plan).items()
    }
