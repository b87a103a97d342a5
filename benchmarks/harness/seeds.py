"""Means over seeds: how sure they are, how two arms differ, and where a loss is reached."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Of a two-sided interval of 95 %, by the number of values."""


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, with the half of its 95 % t-interval (None for a single value)."""

    mean: float
    half_interval_95: float | None
    seeds: int

    def __str__(self) -> str:
        return self.written()

    def written(self, sign: str = "") -> str:
        """Write the mean, with a sign if that is "+", and how sure it is."""
        sure = "(1 seed)" if self.half_interval_95 is None else f"± {self.half_interval_95:.4f}"
        return f"{self.mean:{sign}.4f} {sure}"


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of values that are taken as normally distributed."""
    number, half = len(values), None
    if number > 1:
        half = STUDENT[number] * statistics.stdev(values) / math.sqrt(number)
    return Mean(statistics.fmean(values), half, number)


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Mean | None:
    """Return the mean difference over the seeds that both have."""
    both = sorted(ours.keys() & theirs.keys())
    return mean_of([ours[seed] - theirs[seed] for seed in both]) if both else None


def crossing(points: Mapping[float, float], goal: float) -> float | None:
    """Return the share of the tokens at which a loss is reached, straight lines over log tokens.

    None where the goal lies outside of what was measured.
    """
    for (left, high), (right, low) in pairwise(sorted(points.items())):
        if high >= goal >= low and high > low:
            part = (high - goal) / (high - low)
            return math.exp(math.log(left) + part * (math.log(right) - math.log(left)))
    return None
