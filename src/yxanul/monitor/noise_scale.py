"""Gradient noise scale: the batch size at which averaging more gradients stops paying off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SMOOTHING = 0.99
MICRO_BATCH = ("micro_batch/gradient_norm", "micro_batch/num_targets")
"""Names under which a step's first micro-batch is measured; they are not logged."""


class NoiseScale:
    """B = tr(S) / |G|^2, with S the covariance of a token's gradient and G the true gradient, from
    gradients of two batch sizes (McCandlish et al. 2018, arXiv 1812.06162, appendix A)."""

    def __init__(self) -> None:
        self._trace = self._signal = 0.0

    def add(self, small: float, small_norm: float, large: float, large_norm: float) -> None:
        """Add the norms of the mean gradients of a small and a larger batch of so many tokens.

        Both estimates are unbiased but noisy: they are smoothed before they are divided.
        """
        trace = (small_norm**2 - large_norm**2) / (1 / small - 1 / large)
        signal = (large * large_norm**2 - small * small_norm**2) / (large - small)
        self._trace += (1 - SMOOTHING) * (trace - self._trace)
        self._signal += (1 - SMOOTHING) * (signal - self._signal)

    @property
    def tokens(self) -> float:
        """The noise scale in tokens; NaN as long as it cannot be estimated."""
        known = self._trace > 0 and self._signal > 0
        return self._trace / self._signal if known else math.nan

    def to_dict(self) -> dict[str, float]:
        """Return the state as plain data."""
        return {"trace": self._trace, "signal": self._signal}

    def load(self, plain: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned."""
        self._trace, self._signal = plain["trace"], plain["signal"]
