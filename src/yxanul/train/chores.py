"""Chores: what is due every N steps beside the training itself; whoever calls brings them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yxanul.train.trainer import Trainer


@dataclass(frozen=True)
class Chore:
    """An action that is due every `every_steps` steps and at the end of the stage."""

    name: str
    every_steps: int
    action: Callable[[Trainer], None]

    def due(self, step: int, last: bool) -> bool:
        """Say whether it is due after `step` steps of the stage."""
        return last or step % self.every_steps == 0
