"""Figures that several packages derive in the same way."""

from __future__ import annotations

import math


def perplexity(loss: float) -> float:
    """Return exp(loss); infinity where that is beyond a float, NaN for NaN."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
