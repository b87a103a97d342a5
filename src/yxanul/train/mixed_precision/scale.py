"""The factor on the loss that keeps the gradients of fp16 within its range."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

FLOOR, CEILING = 1.0, 2.0**24


@dataclass(frozen=True)
class LossScale:
    """Halved when a gradient is not finite, doubled after so many steps in a row that were.

    Loss scaling as in Micikevicius et al. 2018 (arXiv 1710.03740). Always a power of two, so that
    scaling and its undoing round nothing.
    """

    value: float = 65536.0
    growth_steps: int = 2000
    """Steps in a row with finite gradients after which the value is doubled."""
    good_steps: int = 0
    """So many have been since the value last changed."""

    def after_step(self, finite: bool) -> LossScale:
        """Return the scale for the step that follows one whose gradients were finite or not."""
        if not finite:
            return replace(self, value=max(FLOOR, self.value / 2), good_steps=0)
        if self.good_steps + 1 < self.growth_steps:
            return replace(self, good_steps=self.good_steps + 1)
        return replace(self, value=min(CEILING, self.value * 2), good_steps=0)

    @property
    def at_floor(self) -> bool:
        """Say whether it cannot be lowered any more."""
        return self.value <= FLOOR

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> LossScale:
        """Read what `to_dict` returned."""
        return cls(**plain)
