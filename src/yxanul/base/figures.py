"""Metric formulas shared by several packages."""

from __future__ import annotations

import math
from typing import Any


def format_seconds(seconds: float) -> str:
    """Format a duration such as 0:07, 3:20 or 2:05:09."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def perplexity(loss: float) -> float:
    """Return exp(loss); infinity on overflow, NaN for NaN."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def distinct(*values: float) -> list[str]:
    """Write numbers with four digits, or with as many as it takes to tell different ones apart."""
    texts: list[str] = []
    for digits in range(4, 18):
        texts = [f"{v:,.0f}" if abs(v) >= 10**digits else f"{v:.{digits}g}" for v in values]
        if len(set(texts)) == len(set(values)):
            break
    return texts


def finite(value: Any) -> Any:
    """Return JSON-compatible data with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
