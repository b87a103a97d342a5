"""Search for the largest micro-batch that fits; the rows of a step never change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch

from yxanul.base.errors import YxanulError
from yxanul.train.curriculum import AUTO_MICRO_TOKENS, Phase, Plan
from yxanul.train.memory import Computes, MakeOptimizer, fits, free, process_rows, too_large
from yxanul.train.parallel.world import World

ENOUGH_TOKENS = 131_072
"""Tokens that saturate any GPU: a larger micro-batch is no faster."""
MARGIN = 0.1
"""Share of the device's memory kept free, since a single measurement may be too low."""


def micro_rows_of(plan: Plan) -> dict[int, int]:
    """Return the rows per micro-batch by phase index."""
    rows: dict[int, int] = {}
    for phase in plan.phases:  # a phase's last, smaller steps share its index
        rows[phase.index] = max(rows.get(phase.index, 1), phase.micro_rows)
    return rows


def with_micro_rows(plan: Plan, micro_rows: Mapping[int, int]) -> Plan:
    """Return the plan with other micro-batch sizes in some phases, given by phase index."""

    def changed(phase: Phase) -> Phase:
        rows = micro_rows.get(phase.index, phase.micro_rows)
        return replace(phase, micro_rows=min(phase.rows, rows))

    return replace(plan, phases=tuple(map(changed, plan.phases)))


def halved(plan: Plan, phase_index: int) -> Plan:
    """Return the plan with a phase's micro-batch halved; YxanulError if it has only one row."""
    micro_rows = micro_rows_of(plan)[phase_index]
    if micro_rows == 1:
        seq_len = max(phase.seq_len for phase in plan.phases if phase.index == phase_index)
        raise YxanulError(
            f"phase {phase_index} ran out of memory with the smallest micro-batch",
            got=f"1 row of {seq_len} tokens",
            hint="try train.gradient_checkpointing=full, or a shorter seq_len",
        )
    return with_micro_rows(plan, {phase_index: micro_rows // 2})


def largest_fitting(
    candidates: Sequence[int], peak_of: Callable[[int], int | None], room: int, first: int = 0
) -> int | None:
    """Return the largest of the ascending `candidates` that fits, None if the smallest does not.

    `peak_of` tries a size and returns its peak memory in bytes, None if it exceeds `room`. Two
    trials, from `candidates[first]` on, give a linear extrapolation; next comes the largest
    candidate it allows, and bisection if that fails. Peak memory is the maximum of several linear
    functions of the size, so it is never below the line through two smaller sizes: candidates
    ruled out by that line are not tried.
    """
    fitting, failing = -1, len(candidates)
    peaks: list[tuple[int, int]] = []
    while (last := _last_possible(candidates[:failing], peaks, room)) > fitting:
        if failing < len(candidates):
            index = (fitting + 1 + last) // 2
        elif len(peaks) < 2:
            index = max(fitting + 1, first)
        else:
            index = last
        peak = peak_of(candidates[index])
        if peak is None:
            failing = index
        else:
            fitting = index
            peaks.append((candidates[index], peak))
    return candidates[fitting] if fitting >= 0 else None


def _last_possible(candidates: Sequence[int], peaks: list[tuple[int, int]], room: int) -> int:
    """Return the index of the last candidate that the extrapolation allows, or -1."""
    if len(peaks) < 2:
        return len(candidates) - 1
    (size, peak), (next_size, next_peak) = peaks[-2:]
    growth = (next_peak - peak) / (next_size - size)
    possible = [next_peak + growth * (rows - next_size) <= room for rows in candidates]
    return max((index for index, may in enumerate(possible) if may), default=-1)


def sizes(rows: int, seq_len: int) -> list[int]:
    """Return the sizes to try: powers of two up to the largest useful size, and that size."""
    most = max(1, min(rows, ENOUGH_TOKENS // seq_len))
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*powers, most]


def evened(rows: int, micro_rows: int) -> int:
    """Return the smallest micro-batch with the same count, so that the last is not a small rest."""
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
    """Return the largest micro-batch that fits on this GPU, in rows, by phase index.

    Sizes are tried with `memory.fits`.
    """
    world = world or World()
    free()
    best: dict[int, int] = {}
    for phase in _widest(plan):
        rows, room = process_rows(phase, world.size), world.broadcast(_room(engine.device))

        def peak_of(micro_rows: int, phase: Phase = phase, room: int = room) -> int | None:
            tried = replace(phase, micro_rows=micro_rows)
            return _agreed_peak(engine, tried, make_optimizer, generator, world, room)

        candidates = sizes(rows, phase.seq_len)
        # Start near AUTO_MICRO_TOKENS: for smaller micro-batches the head's memory grows faster.
        first = max(0, sum(size * phase.seq_len <= AUTO_MICRO_TOKENS for size in candidates) - 1)
        largest = largest_fitting(candidates, peak_of, room, first)
        if largest is None:
            raise too_large(replace(phase, micro_rows=1), engine.device)
        best[phase.index] = evened(rows, largest)
    return best


def _widest(plan: Plan) -> list[Phase]:
    """Return each phase in the shape of its largest steps."""
    by_index: dict[int, Phase] = {}
    for phase in plan.phases:
        other = by_index.get(phase.index)
        if other is None or phase.step_tokens > other.step_tokens:
            by_index[phase.index] = phase
    return list(by_index.values())


def _room(device: torch.device) -> int:
    """Return the bytes that torch may use on a GPU, less the margin."""
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
    """Try a phase on all ranks; return rank 0's peak in bytes, None if it did not fit on one."""
    torch.cuda.reset_peak_memory_stats(engine.device)
    fitted = fits(engine, phase, make_optimizer, generator, world.size)
    peak = torch.cuda.max_memory_allocated(engine.device)
    if world.any(not fitted or peak > room):
        return None
    return world.broadcast(peak)
