"""Rows of a micro-batch: the most that fit. The rows of a step never change by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from yxanul.base.errors import YxanulError
from yxanul.train.curriculum import AUTO_MICRO_TOKENS, Phase, Plan
from yxanul.train.memory import Computes, MakeOptimizer, fits, free, process_rows, too_large
from yxanul.train.parallel.world import World

ENOUGH_TOKENS = 131_072
"""A micro-batch of so many fills any GPU: a larger one is no faster."""
MARGIN = 0.1
"""Share of the device's memory that stays empty: what is measured once is not the whole truth."""


def micro_rows_of(plan: Plan) -> dict[int, int]:
    """Return the rows of a micro-batch by the index of the phase."""
    found: dict[int, int] = {}
    for phase in plan.phases:  # the last, smaller steps of a phase have its index
        found[phase.index] = max(found.get(phase.index, 1), phase.micro_rows)
    return found


def with_micro_rows(plan: Plan, micro_rows: Mapping[int, int]) -> Plan:
    """Return the plan with other micro-batches in some phases, by their index."""

    def changed(phase: Phase) -> Phase:
        wanted = micro_rows.get(phase.index, phase.micro_rows)
        return replace(phase, micro_rows=min(phase.rows, wanted))

    return replace(plan, phases=tuple(map(changed, plan.phases)))


def halved(plan: Plan, phase_index: int) -> Plan:
    """Return the plan with half the micro-batch in a phase; YxanulError if that is one row."""
    micro_rows = micro_rows_of(plan)[phase_index]
    if micro_rows == 1:
        seq_len = max(phase.seq_len for phase in plan.phases if phase.index == phase_index)
        raise YxanulError(
            f"phase {phase_index} ran out of memory, and its micro-batch cannot be smaller",
            got=f"1 row of {seq_len} tokens at once",
            hint="try train.gradient_checkpointing=full, or a shorter seq_len",
        )
    return with_micro_rows(plan, {phase_index: micro_rows // 2})


def largest_fitting(
    candidates: Sequence[int], peak_of: Callable[[int], int | None], room: int, first: int = 0
) -> int | None:
    """Return the largest of the rising `candidates` that fits, None if the smallest does not.

    `peak_of` tries a size and returns the bytes that it took, None if it does not fit into the
    `room`. Two trials, from `candidates[first]` on, show how memory grows; then comes the largest
    that may fit, and if that fails, halving. A peak is the highest of several lines over the size:
    it never lies below the line through two smaller sizes, so what that forbids is not tried.
    """
    fitting, failing = -1, len(candidates)
    peaks: list[tuple[int, int]] = []
    while (last := _last_possible(candidates[:failing], peaks, room)) > fitting:
        if failing < len(candidates):
            at = (fitting + 1 + last) // 2
        elif len(peaks) < 2:
            at = max(fitting + 1, first)
        else:
            at = last
        peak = peak_of(candidates[at])
        if peak is None:
            failing = at
        else:
            fitting = at
            peaks.append((candidates[at], peak))
    return candidates[fitting] if fitting >= 0 else None


def _last_possible(candidates: Sequence[int], peaks: list[tuple[int, int]], room: int) -> int:
    """Return the place of the last candidate that the growth so far leaves possible, or -1."""
    if len(peaks) < 2:
        return len(candidates) - 1
    (size, peak), (next_size, next_peak) = peaks[-2:]
    growth = (next_peak - peak) / (next_size - size)
    possible = [next_peak + growth * (rows - next_size) <= room for rows in candidates]
    return max((place for place, may in enumerate(possible) if may), default=-1)


def sizes(rows: int, seq_len: int) -> list[int]:
    """Return the micro-batches to try: powers of two, and all rows of a step if that is allowed."""
    most = max(1, min(rows, ENOUGH_TOKENS // seq_len))
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*powers, most]


def _first(candidates: Sequence[int], seq_len: int) -> int:
    """Return the place to begin at: below so many tokens the head's memory grows faster."""
    return max(0, sum(rows * seq_len <= AUTO_MICRO_TOKENS for rows in candidates) - 1)


def evened(rows: int, micro_rows: int) -> int:
    """Return a micro-batch that is no larger, needs no more of them, and leaves no small rest."""
    count = -(-rows // micro_rows)
    return -(-rows // count)


def find_micro_rows(
    engine: Computes,
    plan: Plan,
    make_optimizer: MakeOptimizer,
    generator: torch.Generator,
    *,
    world: World | None = None,
) -> dict[int, int]:
    """Return the most rows of a micro-batch that fit on this GPU, by the index of the phase.

    Each phase is tried as `memory.fits` does.
    """
    world = world or World()
    free()
    found: dict[int, int] = {}
    for phase in _widest(plan):
        rows, room = process_rows(phase, world.size), world.broadcast(_room(engine.device))

        def peak_of(micro_rows: int, phase: Phase = phase, room: int = room) -> int | None:
            tried = replace(phase, micro_rows=micro_rows)
            return _agreed_peak(engine, tried, make_optimizer, generator, world, room)

        candidates = sizes(rows, phase.seq_len)
        first = _first(candidates, phase.seq_len)
        largest = largest_fitting(candidates, peak_of, room, first)
        if largest is None:
            raise too_large(replace(phase, micro_rows=1), engine.device)
        found[phase.index] = evened(rows, largest)
    return found


def _widest(plan: Plan) -> list[Phase]:
    """Return the largest steps of each phase."""
    by_index: dict[int, Phase] = {}
    for phase in plan.phases:
        other = by_index.get(phase.index)
        if other is None or phase.step_tokens > other.step_tokens:
            by_index[phase.index] = phase
    return list(by_index.values())


def _room(device: torch.device) -> int:
    """Return the bytes that torch may use on a GPU."""
    unused, total = torch.cuda.mem_get_info(device)
    return unused + torch.cuda.memory_reserved(device) - round(MARGIN * total)


def _agreed_peak(
    engine: Computes,
    phase: Phase,
    make_optimizer: MakeOptimizer,
    generator: torch.Generator,
    world: World,
    room: int,
) -> int | None:
    """Try a phase on every process; return the bytes it took, None if one had not enough."""
    torch.cuda.reset_peak_memory_stats(engine.device)
    fitted = fits(engine, phase, make_optimizer, generator, world.size)
    peak = torch.cuda.max_memory_allocated(engine.device)
    if world.any(not fitted or peak > room):
        return None
    return world.broadcast(peak)
