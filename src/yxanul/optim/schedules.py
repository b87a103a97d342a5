"""Learning-rate schedules: the multiplier of the peak as a pure function of where an update stands.

An update is placed by what is done once it is applied, so the last one stands exactly at the end
of the run. Where the settings have a smallest rate, the last update has it. Without one the
line ends in zero one update *later*: an update at rate zero would be a step spent on nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from yxanul.base.errors import YxanulError
from yxanul.base.registry import lookup
from yxanul.optim.config import (
    DEFAULT_DECAY_FRACTION,
    DEFAULT_WARMUP_FRACTION,
    OptimSettings,
    ScheduleSettings,
)


def linear(left: float) -> float:
    """Come down in a straight line."""
    return left


def cosine(left: float) -> float:
    """Come down along half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983)."""
    return 0.5 * (1 - math.cos(math.pi * left))


def constant(left: float) -> float:
    """Stay at the peak."""
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    # Bergsma et al. 2025, arXiv 2502.15938: straight down to zero beats a floor of a tenth.
    "linear_to_zero": linear,
    "linear": linear,
    "cosine": cosine,
    "constant": constant,
    # Hu et al. 2024, arXiv 2404.06395: warm up, stay, then come down over the last part.
    "wsd": linear,
}
"""By name: height between the smallest rate (0) and the peak (1), from the share of the descent
that is left."""


def lr_multiplier(
    settings: OptimSettings,
    *,
    step: int,
    total_steps: int,
    tokens: int,
    total_tokens: int,
    step_tokens: int | None = None,
) -> float:
    """Return the rate of update number `step`, the first being 1, as a share of the peak.

    `tokens` are the target tokens seen once that update is applied, `step_tokens` those of the
    update itself (absent: the mean so far; needed only where rows change during a warm-up that
    is counted in tokens). Past the end the rate stays where the schedule ends.
    """
    schedule, smallest = settings.schedule, settings.min_lr_fraction
    if schedule.clock == "steps":
        now, total, size = step, total_steps, 1.0
    else:
        now, total, size = tokens, total_tokens, step_tokens or tokens / step
    warmup = max(1, warmup_length(schedule, total))  # without one, the first update has the peak
    if now < warmup:
        return now / warmup
    start = descent_start(schedule, warmup, total)
    end = total if smallest is not None else total + total / total_steps
    if now - size < warmup or now <= start:  # the update that ends the warm-up has the peak
        return 1.0
    height = lookup(SCHEDULES, schedule.name, "schedule")(max(0.0, (end - now) / (end - start)))
    return height + (smallest or 0.0) * (1 - height)


def warmup_length(schedule: ScheduleSettings, total: int) -> int:
    """Return the warm-up in the schedule's clock, for a run of `total` steps or tokens."""
    if schedule.warmup_steps is not None:
        return schedule.warmup_steps
    if schedule.warmup_tokens is not None:
        return schedule.warmup_tokens
    fraction = schedule.warmup_fraction
    share = DEFAULT_WARMUP_FRACTION if fraction is None else fraction
    return min(round(share * total), total - 1)


def check_schedule(settings: OptimSettings, *, total_steps: int, total_tokens: int) -> None:
    """Refuse a warm-up that does not fit into the run."""
    schedule = settings.schedule
    total = total_steps if schedule.clock == "steps" else total_tokens
    warmup = warmup_length(schedule, total)
    if warmup > total:
        raise YxanulError(
            "the warm-up is longer than the run",
            got=f"{warmup:,} {schedule.clock} of warm-up",
            expected=f"at most the run's {total:,}",
            hint="lower the warm-up in optim.schedule, or use warmup_fraction",
        )
    if warmup == total and schedule.name != "constant":
        raise YxanulError(
            f"the warm-up takes the whole run, so that {schedule.name} cannot come down",
            got=f"{warmup:,} of {total:,} {schedule.clock}",
            hint="lower the warm-up in optim.schedule, or use warmup_fraction",
        )
    if warmup > descent_start(schedule, 0, total) and schedule.name == "wsd":
        raise YxanulError(
            "the warm-up and the decay of wsd overlap",
            got=f"{warmup:,} {schedule.clock} of warm-up in a run of {total:,}",
            hint="lower the warm-up or optim.schedule.decay_fraction",
        )


def descent_start(schedule: ScheduleSettings, warmup: int, total: int) -> int:
    """Return after how many steps or tokens, of `total`, the rate begins to come down."""
    if schedule.name != "wsd":
        return warmup
    decay = round((schedule.decay_fraction or DEFAULT_DECAY_FRACTION) * total)
    return max(warmup, total - decay)
