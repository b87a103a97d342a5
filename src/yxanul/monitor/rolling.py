"""Rolling window over the last values of a metric; can be saved and restored."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable


class Rolling:
    """The last `size` values and their statistics, which are NaN for an empty window."""

    def __init__(self, size: int, values: Iterable[float] = ()):
        self._values: deque[float] = deque(values, maxlen=size)

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: float) -> None:
        """Append a value, dropping the oldest of a full window."""
        self._values.append(value)

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self._values) if self._values else float("nan")

    @property
    def median(self) -> float:
        """Median."""
        return statistics.median(self._values) if self._values else float("nan")

    @property
    def std(self) -> float:
        """Sample standard deviation; zero for one value."""
        if not self._values:
            return float("nan")
        mean = self.mean
        squares = sum((value - mean) ** 2 for value in self._values)
        return (squares / max(1, len(self._values) - 1)) ** 0.5

    def to_list(self) -> list[float]:
        """Return the values, oldest first."""
        return list(self._values)
