"""Two models on the same documents: differences with bootstrap intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from yxanul.eval.run_tasks import Result
from yxanul.eval.tasks import is_perplexity

NUM_RESAMPLES = 2_000
_ROWS = 50


class Difference(NamedTuple):
    """Second model minus first, and its 95 % interval."""

    difference: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def compare_results(
    first: Mapping[str, Result], second: Mapping[str, Result]
) -> dict[str, dict[str, Difference]]:
    """Return the differences by task and metric; both must have been asked the same documents, in
    the same order."""
    return {
        name: {
            metric: paired_bootstrap(
                result.values(metric),
                second[name].values(metric),
                result.weights(metric),
                is_perplexity(metric),
            )
            for metric in result.metrics
        }
        for name, result in first.items()
        if name in second
    }


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    weights: Sequence[float],
    of_exp: bool = False,
) -> Difference:
    """Return the difference of the weighted means (with `of_exp`, of their exp) of two models'
    values.

    Documents are drawn with replacement, the same ones for both models, from a fixed seed. The
    interval of a single document is unknown: NaN.
    """
    weights_N = np.array(weights)
    pairs = np.array([first, second]) * weights_N
    generator = np.random.default_rng(0)
    means: list[Any] = []
    for _ in range(NUM_RESAMPLES // _ROWS):
        drawn = generator.integers(pairs.shape[1], size=(_ROWS, pairs.shape[1]))
        means.append(pairs[:, drawn].sum(-1) / weights_N[drawn].sum(-1))
    resampled, whole = np.concatenate(means, 1), pairs.sum(1) / weights_N.sum()
    with np.errstate(over="ignore", invalid="ignore"):  # infinite minus infinite is NaN
        if of_exp:
            resampled, whole = np.exp(resampled), np.exp(whole)
        low, high = np.quantile(resampled[1] - resampled[0], [0.025, 0.975])
        difference = float(whole[1] - whole[0])
    if len(weights_N) < 2:
        low = high = math.nan
    return Difference(difference, float(low), float(high))
