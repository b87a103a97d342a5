"""Base class of our own optimizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


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
    def step(self) -> None:  # type: ignore[override]
        """Apply one update; parameters without a gradient are skipped."""
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if params:
                self._step(params, [param.grad for param in params], group)

    @abstractmethod
    def _step(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        """Update the parameters of a group: at least one."""

    def _zeros(self, key: str, params: Sequence[Tensor]) -> list[Tensor]:
        """Return a tensor of each parameter's state, which starts at zero."""
        for param in params:
            if key not in self.state[param]:
                self.state[param][key] = torch.zeros_like(param)
        return [self.state[param][key] for param in params]
