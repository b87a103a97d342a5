"""Rolling window over the last values of a metric; can be saved and restored."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable


class Rolling(deque[float]):
    """The last `size` values and their statistics, which are NaN for an empty window."""

    def __init__(self, size: int, values: Iterable[float] = ()):
        super().__init__(values, maxlen=size)

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self) if self else math.nan

    @property
    def median(self) -> float:
        """Median."""
        return statistics.median(self) if self else math.nan

    @property
    def std(self) -> float:
        """Sample standard deviation; zero for one value."""
        mean = self.mean
        squares = sum((value - mean) ** 2 for value in self)
        return (squares / max(1, len(self) - 1)) ** 0.5 if self else math.nan
