"""Spike detection for loss and gradient norm (the rule of OLMo 2, arXiv 2501.00656).

A spike enters the window clamped to the limit it exceeded: a huge one does not mask others for
a whole window, and a permanently higher level is accepted after some steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from yxanul.monitor.config import SpikeSettings


@dataclass(frozen=True)
class LossHistory:
    """Loss and gradient norm of a phase's last steps; reset per phase, as the level differs."""

    phase: int = 0
    losses: tuple[float, ...] = ()
    norms: tuple[float, ...] = ()

    def is_spike(self, phase: int, loss: float, norm: float, settings: SpikeSettings) -> bool:
        """Return whether a finite step of `phase` exceeds a limit."""
        if phase != self.phase:
            return False
        return loss > limit(self.losses, settings) or norm > limit(self.norms, settings)

    def after(self, phase: int, loss: float, norm: float, settings: SpikeSettings) -> LossHistory:
        """Return the window with one more step; non-finite steps are left out."""
        if phase != self.phase:
            return LossHistory(phase).after(phase, loss, norm, settings)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return self
        return LossHistory(
            phase, with_value(self.losses, loss, settings), with_value(self.norms, norm, settings)
        )

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> LossHistory:
        """Inverse of `dataclasses.asdict`; JSON lists are accepted."""
        return cls(plain["phase"], tuple(plain["losses"]), tuple(plain["norms"]))


def limit(values: tuple[float, ...], settings: SpikeSettings) -> float:
    """Return mean + deviations x standard deviation; infinite until half the window is filled."""
    if len(values) < max(2, settings.window_steps // 2):
        return math.inf
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean + settings.deviations * math.sqrt(variance)


def with_value(
    values: tuple[float, ...], value: float, settings: SpikeSettings
) -> tuple[float, ...]:
    """Return the window with one more value, clamped to the limit."""
    return (*values, min(value, limit(values, settings)))[-settings.window_steps :]
