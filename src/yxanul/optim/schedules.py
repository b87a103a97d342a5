"""Learning-rate schedules: the multiplier of the peak as a pure function of an update's position.

An update's position is the progress once it is applied, so the last update is exactly at the end.
With a minimum rate, the last update has that rate. Without one, the rate reaches zero one update
*later*: an update at rate zero would be wasted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from yxanul.base.errors import YxanulError
from yxanul.optim.config import (
    DEFAULT_DECAY_FRACTION,
    DEFAULT_WARMUP_FRACTION,
    OptimSettings,
    ScheduleSettings,
)

SCHEDULES: dict[str, Callable[[float], float]] = {
    # Bergsma et al. 2025, arXiv 2502.15938: linear decay to zero beats decay to a tenth.
    "linear_to_zero": lambda left: left,
    "linear": lambda left: left,
    # Half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983).
    "cosine": lambda left: 0.5 * (1 - math.cos(math.pi * left)),
    "constant": lambda left: 1.0,
    # Hu et al. 2024, arXiv 2404.06395: warmup, stable, decay.
    "wsd": lambda left: left,
}
"""Decay shapes by name: the remaining share of the decay (1 to 0) -> height between the minimum
rate (0) and the peak (1)."""


def lr_multiplier(
    settings: OptimSettings,
    *,
    step: int,
    total_steps: int,
    tokens: int,
    total_tokens: int,
    step_tokens: int | None = None,
) -> float:
    """Return the learning rate of update number `step` (from 1) as a share of the peak.

    `tokens` are the target tokens seen once that update is applied, `step_tokens` those of the
    update itself (absent: the mean so far; needed only if the batch size changes during a warm-up
    counted in tokens). Past the end, the rate stays at its final value.
    """
    schedule, smallest = settings.schedule, settings.min_lr_fraction
    if schedule.clock == "steps":
        now, total, size = step, total_steps, 1.0
    else:
        now, total, size = tokens, total_tokens, step_tokens or tokens / step
    warmup = max(1, warmup_length(schedule, total))  # without warm-up, start at the peak
    if now < warmup:
        return now / warmup
    start = descent_start(schedule, warmup, total)
    end = total if smallest is not None else total + total / total_steps
    if now - size < warmup or now <= start:  # the last warm-up update has the peak rate
        return 1.0
    height = SCHEDULES[schedule.name](max(0.0, (end - now) / (end - start)))
    return height + (smallest or 0.0) * (1 - height)


def warmup_length(schedule: ScheduleSettings, total: int) -> int:
    """Return the warm-up in the schedule's unit, for a stage of `total` steps or tokens."""
    if schedule.warmup_steps is not None:
        return schedule.warmup_steps
    if schedule.warmup_tokens is not None:
        return schedule.warmup_tokens
    fraction = schedule.warmup_fraction
    share = DEFAULT_WARMUP_FRACTION if fraction is None else fraction
    return min(round(share * total), total - 1)


def check_schedule(settings: OptimSettings, *, total_steps: int, total_tokens: int) -> None:
    """Raise YxanulError if the warm-up does not fit into the stage."""
    schedule = settings.schedule
    total = total_steps if schedule.clock == "steps" else total_tokens
    warmup = warmup_length(schedule, total)
    if warmup > total:
        raise YxanulError(
            "the warm-up is longer than the stage",
            got=f"{warmup:,} {schedule.clock} of warm-up",
            expected=f"at most the stage's {total:,}",
            hint="lower the warm-up in optim.schedule, or use warmup_fraction",
        )
    if warmup == total and schedule.name != "constant":
        raise YxanulError(
            f"the warm-up takes the whole stage and leaves no decay for schedule {schedule.name}",
            got=f"{warmup:,} of {total:,} {schedule.clock}",
            hint="lower the warm-up in optim.schedule, or use warmup_fraction",
        )
    if warmup > descent_start(schedule, 0, total) and schedule.name == "wsd":
        raise YxanulError(
            "the warm-up and the decay of wsd overlap",
            got=f"{warmup:,} {schedule.clock} of warm-up in a stage of {total:,}",
            hint="lower the warm-up or optim.schedule.decay_fraction",
        )


def descent_start(schedule: ScheduleSettings, warmup: int, total: int) -> int:
    """Return after how many of `total` steps or tokens the decay starts."""
    if schedule.name != "wsd":
        return warmup
    decay = round((schedule.decay_fraction or DEFAULT_DECAY_FRACTION) * total)
    return max(warmup, total - decay)
