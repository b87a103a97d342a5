"""Micro-batches: their rows, and the largest that fit; the rows of a step never change."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch

from yxanul.base.errors import YxanulError
from yxanul.optim.config import OptimSettings
from yxanul.train.curriculum import Phase, Plan
from yxanul.train.engine import Engine
from yxanul.train.memory import fits, free, process_rows, too_large
from yxanul.train.parallel.world import World

T = TypeVar("T")

ENOUGH_TOKENS = 131_072
"""Tokens that saturate any GPU: a larger micro-batch is no faster."""
MARGIN = 0.1
"""Share of the device's memory kept free, since a single measurement may be too low."""


def micro_batches(rows: Sequence[T], micro_rows: int, rank: int, size: int) -> list[Sequence[T]]:
    """Return this rank's rows of a step, split into micro-batches of at most `micro_rows`.

    Every row belongs to exactly one rank. All ranks get the same number of micro-batches, since
    each is a collective operation; those of a rank with fewer rows may be empty.
    """
    start, end = rank * len(rows) // size, (rank + 1) * len(rows) // size
    count = math.ceil(math.ceil(len(rows) / size) / micro_rows)
    starts = range(start, start + count * micro_rows, micro_rows)
    return [rows[min(first, end) : min(first + micro_rows, end)] for first in starts]


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
        raise YxanulError(
            f"phase {phase_index} ran out of memory with the smallest micro-batch",
            got=f"1 row of {plan.widest(phase_index).seq_len} tokens",
            hint="try train.gradient_checkpointing=full, or a shorter seq_len",
        )
    return with_micro_rows(plan, {phase_index: micro_rows // 2})


def sizes(rows: int, seq_len: int) -> list[int]:
    """Return the sizes to try: powers of two up to the largest useful size, and that size."""
    most = max(1, min(rows, ENOUGH_TOKENS // seq_len))
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*powers, most]


def evened(rows: int, micro_rows: int) -> int:
    """Return the smallest micro-batch with the same count, so that the last is not much smaller."""
    count = -(-rows // micro_rows)
    return -(-rows // count)


def find_micro_rows(
    engine: Engine, plan: Plan, optim: OptimSettings, world: World
) -> dict[int, int]:
    """Return the largest micro-batch that fits on this GPU, in rows, by phase index."""
    free()
    best: dict[int, int] = {}
    for phase in map(plan.widest, micro_rows_of(plan)):
        rows, room = process_rows(phase, world.size), world.broadcast(_room(engine.device))

        trials = [replace(phase, micro_rows=size) for size in sizes(rows, phase.seq_len)]
        is_too_large = partial(_is_too_large, engine, optim, world, room)
        num_fitting = bisect_left(trials, True, key=is_too_large)
        if num_fitting == 0:
            raise too_large(replace(phase, micro_rows=1), engine.device)
        best[phase.index] = evened(rows, trials[num_fitting - 1].micro_rows)
    return best


def _is_too_large(
    engine: Engine, optim: OptimSettings, world: World, room: int, phase: Phase
) -> bool:
    """Return whether a step of a phase needs more than `room` bytes in any process."""
    torch.cuda.reset_peak_memory_stats(engine.device)
    fitted = fits(engine, phase, optim, world.size)
    return world.any(not fitted or torch.cuda.max_memory_allocated(engine.device) > room)


def _room(device: torch.device) -> int:
    """Return the bytes that torch may use on a GPU, less the margin."""
    unused, total = torch.cuda.mem_get_info(device)
    return unused + torch.cuda.memory_reserved(device) - round(MARGIN * total)
