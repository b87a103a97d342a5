"""Filter by a numeric column."""

from __future__ import annotations

import math
from typing import Any

from yxanul.text.documents import Document
from yxanul.text.filters.config import ScoreFilterSettings


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
