"""Changes of a stage's plan: shortened, replanned, extended, repeated."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from yxanul.optim.config import OptimSettings
from yxanul.optim.schedules import descent_start, warmup_length
from yxanul.train.curriculum import LrCurve, Phase, Plan, first_steps, schedule_position


def truncate(plan: Plan, step: int) -> Plan:
    """Return the first steps of a plan, with their learning rates."""
    if step == plan.total_steps:
        return plan
    return replace(first_steps(plan, step, None), replanned=plan.curves)


def shorten(plan: Plan, steps: int) -> Plan:
    """Return the plan ended after `steps` steps, as a shorter budget would have planned it."""
    cut, (*earlier, last) = first_steps(plan, steps, None), plan.curves
    shorter = replace(
        last,
        total_steps=last.total_steps - plan.total_steps + cut.total_steps,
        total_tokens=last.total_tokens - plan.total_tokens + cut.total_tokens,
    )
    return replace(cut, replanned=(*earlier, shorter) if plan.replanned else ())


def replan(plan: Plan, whole: Plan, steps_done: int, *, by_share: bool) -> Plan:
    """Return the plan whose steps after `steps_done` are those of `whole`, of another length.

    They start at the share of tokens done (or, for phases that start at fixed steps or tokens, at
    the same step): no phase is repeated, and the learning rate continues from there.
    """
    start = steps_done
    if by_share:
        curve = plan.curve_at(steps_done)
        _, tokens = plan.done_of(curve, steps_done)
        target = tokens / curve.total_tokens * whole.total_tokens
        start = bisect_left(range(whole.total_steps), target, key=whole.tokens_after)
    past = first_steps(plan, steps_done, None).phases
    offset = steps_done - start
    moved = (replace(phase, first_step=phase.first_step + offset) for phase in whole.phases)
    future = [_from_step(phase, steps_done) for phase in moved]
    curve = LrCurve(
        steps_done, whole.total_steps, whole.total_tokens, start, whole.tokens_after(start)
    )
    earlier = tuple(past_curve for past_curve in plan.curves if past_curve.first_step < steps_done)
    return Plan(_joined([*past, *future]), (*earlier, curve))


def extend(plan: Plan, tokens: int) -> Plan:
    """Return the plan with `tokens` more target tokens, in the shape of its last phase.

    They have their own schedule: warm-up to half the peak over 2 %, then the usual decay. (The
    rate may have decayed to zero, at which nothing is learned.)
    """
    shape = plan.widest(plan.phases[-1].index)
    steps = max(1, round(tokens / shape.step_tokens))
    more = replace(shape, first_step=plan.total_steps, num_steps=steps)
    curve = LrCurve(plan.total_steps, steps, more.num_tokens, lr_scale=0.5, warmup_fraction=0.02)
    return Plan((*plan.phases, more), (*plan.curves, curve))


def repeat_from(plan: Plan, step: int, lr_scale: float) -> Plan:
    """Return the plan followed by its steps after `step` once more, at `lr_scale` times their
    learning rate."""
    offset, curve = plan.total_steps - step, plan.curve_at(step)
    done_steps, done_tokens = plan.done_of(curve, step)
    rest = (_from_step(phase, step) for phase in plan.phases)
    again = [replace(p, first_step=p.first_step + offset) for p in rest if p.num_steps]
    curves = [
        replace(curve, first_step=step, done_steps=done_steps, done_tokens=done_tokens),
        *(later for later in plan.curves if later.first_step > step),
    ]
    moved = (
        replace(one, first_step=one.first_step + offset, lr_scale=one.lr_scale * lr_scale)
        for one in curves
    )
    return Plan((*plan.phases, *again), (*plan.curves, *moved))


def _from_step(phase: Phase, first_step: int) -> Phase:
    """Return the rest of a phase from `first_step` on."""
    skipped = min(max(0, first_step - phase.first_step), phase.num_steps)
    return replace(
        phase, first_step=phase.first_step + skipped, num_steps=phase.num_steps - skipped
    )


def _joined(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """Drop empty phases and merge adjacent ones that differ only in their steps."""
    joined: list[Phase] = []
    for phase in phases:
        if phase.num_steps == 0:
            continue
        if joined and replace(joined[-1], first_step=0, num_steps=0) == replace(
            phase, first_step=0, num_steps=0
        ):
            before = joined.pop()
            phase = replace(before, num_steps=before.num_steps + phase.num_steps)
        joined.append(phase)
    return tuple(joined)


def start_decay(plan: Plan, optim: OptimSettings, steps_done: int) -> Plan:
    """Return the plan of a wsd schedule shortened so that its decay starts after `steps_done`
    steps, as a shorter budget would have planned it. A plan already in decay is unchanged."""
    longest, shortest = plan.total_steps, steps_done + 1
    while shortest < longest:  # bisect for the longest plan whose decay has started by then
        middle = (shortest + longest + 1) // 2
        if _descends_after(shorten(plan, middle), optim, steps_done):
            shortest = middle
        else:
            longest = middle - 1
    return shorten(plan, shortest)


def _descends_after(plan: Plan, optim: OptimSettings, steps_done: int) -> bool:
    schedule, (done, total) = optim.schedule, schedule_position(plan, optim, steps_done)
    return descent_start(schedule, warmup_length(schedule, total), total) <= done
