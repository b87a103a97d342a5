"""Metric formulas shared by several packages."""

from __future__ import annotations

import math


def perplexity(loss: float) -> float:
    """Return exp(loss); infinity on overflow, NaN for NaN."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
