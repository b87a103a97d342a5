"""Who runs when, and what the figures of alternating rounds come to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence


def alternating(names: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Yield (round, name) in the order A B B A A B ...: what drifts slows all of them alike."""
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            yield number, name


def repeats_for(seconds: float, once: float, least: int = 2) -> int:
    """Return how often to do what takes `once` seconds, so that a round lasts `seconds`."""
    return max(least, math.ceil(seconds / max(once, 1e-6)))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return median, least and greatest of our speed over theirs, round by round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "median": round(statistics.median(ratios), 4),
        "min": round(min(ratios), 4),
        "max": round(max(ratios), 4),
    }


def ratios_of(speeds: dict[str, list[float]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return, for every contender that is ours, its ratio to each of the others."""
    ours = [name for name in speeds if name.startswith("yxanul")]
    return {
        mine: {name: ratio(speeds[mine], speeds[name]) for name in speeds if name != mine}
        for mine in ours
    }


def disagreements(losses: dict[str, float], tolerance: float) -> list[str]:
    """Return a line for each contender whose loss differs from the first one's by too much."""
    first, expected = next(iter(losses.items()), ("", 0.0))
    return [
        f"{name} starts at {loss:.6f}, {first} at {expected:.6f}"
        for name, loss in losses.items()
        if not abs(loss - expected) <= tolerance * abs(expected)
    ]


def agreeing(expected: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> int:
    """Return how many tokens of all rows agree before the first one of the row that differs."""
    total = 0
    for one, other in zip(expected, found, strict=True):
        differ = (n for n, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
        total += next(differ, len(one))
    return total
