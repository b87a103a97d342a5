"""What our own optimizers share: the walk over groups, with one update for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch


class GroupwiseOptimizer(torch.optim.Optimizer, ABC):
    """An optimizer that moves the parameters of a group together."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Apply one update; parameters without a gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if params:
                self._step(params, group)
        return loss

    @abstractmethod
    def _step(self, params: list[torch.Tensor], group: dict[str, Any]) -> None:
        """Move the parameters of one group, at least one, all of which have a gradient."""
