"""Base class of our own optimizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch


def _unwrapped(name: str) -> Any:
    """Return a method of torch's Optimizer without its `torch._disable_dynamo` wrapper, whose first
    call imports the compiler, which takes a second or more."""
    method = getattr(torch.optim.Optimizer, name)
    return getattr(method, "__wrapped__", method)


class GroupwiseOptimizer(torch.optim.Optimizer, ABC):
    """An optimizer that updates the parameters of a group together."""

    add_param_group = _unwrapped("add_param_group")
    zero_grad = _unwrapped("zero_grad")
    state_dict = _unwrapped("state_dict")
    load_state_dict = _unwrapped("load_state_dict")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Apply one update; parameters without a gradient are skipped."""
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
        """Update the parameters of a group: at least one, all with a gradient."""
