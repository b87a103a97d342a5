"""Filters by length, by a numeric column and by a categorical column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from yxanul.text.documents import Document
from yxanul.text.filters.config import (
    FilterSettings,
    LengthFilterSettings,
    ScoreFilterSettings,
    ValueFilterSettings,
)


class LengthFilter:
    """Filter by number of characters. Tokens are counted later: see `token_bounds`."""

    def __init__(self, settings: LengthFilterSettings):
        self._settings = settings

    def cause(self, document: Document) -> str | None:
        """Return "too_short" or "too_big" if a character bound is violated."""
        least, most, chars = self._settings.min_chars, self._settings.max_chars, len(document.text)
        if least is not None and chars < least:
            return "too_short"
        return "too_big" if most is not None and chars > most else None


def token_bounds(filters: Iterable[FilterSettings] | None) -> tuple[int, float]:
    """Return the minimum and maximum number of tokens that all length filters allow."""
    lengths = [item for item in filters or () if isinstance(item, LengthFilterSettings)]
    least = max((item.min_tokens or 0 for item in lengths), default=0)
    return least, min((item.max_tokens or math.inf for item in lengths), default=math.inf)


class ScoreFilter:
    """Filter by bounds on a number in the document's row; rows without a number are dropped."""

    def __init__(self, settings: ScoreFilterSettings):
        self._settings = settings

    def cause(self, document: Document) -> str | None:
        """Return "score" for a value that is not a finite number or is out of bounds."""
        least, most = self._settings.at_least, self._settings.at_most
        value = _number(document.scores.get(self._settings.column))
        fits = (least is None or value >= least) and (most is None or value <= most)
        return None if fits and math.isfinite(value) else "score"


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


class ValueFilter:
    """Filter by allowed values in the document's row; rows without a value are dropped."""

    def __init__(self, settings: ValueFilterSettings):
        self._settings = settings
        # 1 == True, but they are different values of a column.
        self._allowed = {(type(value), value) for value in settings.one_of}

    def cause(self, document: Document) -> str | None:
        """Return "value" if the value is not allowed."""
        value = document.scores.get(self._settings.column)
        allowed = isinstance(value, str | int | bool) and (type(value), value) in self._allowed
        return None if allowed else "value"
