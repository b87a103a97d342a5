"""Dynamic loss scaling, which keeps fp16 gradients in range."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

FLOOR, CEILING = 1.0, 2.0**24


@dataclass(frozen=True)
class LossScale:
    """Loss scale, halved on non-finite gradients and doubled after enough finite steps in a row.

    As in Micikevicius et al. 2018 (arXiv 1710.03740). Always a power of two, so that scaling and
    unscaling are exact.
    """

    value: float = 65536.0
    growth_steps: int = 2000
    """Consecutive steps with finite gradients after which the value is doubled."""
    good_steps: int = 0
    """Steps with finite gradients since the value last changed."""

    def after_step(self, finite: bool) -> LossScale:
        """Return the scale for the next step, after one whose gradients were finite or not."""
        if not finite:
            return replace(self, value=max(FLOOR, self.value / 2), good_steps=0)
        if self.good_steps + 1 < self.growth_steps:
            return replace(self, good_steps=self.good_steps + 1)
        return replace(self, value=min(CEILING, self.value * 2), good_steps=0)

    @property
    def at_floor(self) -> bool:
        """Whether it cannot be lowered further."""
        return self.value <= FLOOR

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> LossScale:
        """Read what `to_dict` returned."""
        return cls(**plain)
