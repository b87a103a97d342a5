"""Lion (Chen et al. 2023, arXiv 2302.06675): every element moves by the rate, along a sign.

It wants a rate three to ten times smaller than AdamW's, and a decay that many times larger.
"""

# torch's multi-tensor operations are public in all but name.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from typing import Any

import torch

from yxanul.optim.base import GroupwiseOptimizer
from yxanul.optim.config import OptimSettings


class Lion(GroupwiseOptimizer):
    """Half the state of AdamW: one momentum an element."""

    def __init__(self, groups: list[dict[str, Any]], *, betas: tuple[float, float]):
        super().__init__(groups, {"betas": betas})

    def _step(self, params: list[torch.Tensor], group: dict[str, Any]) -> None:
        for param in params:
            if not self.state[param]:
                self.state[param]["momentum"] = torch.zeros_like(param)
        momenta = [self.state[param]["momentum"] for param in params]
        grads = [param.grad for param in params if param.grad is not None]
        here, memory = group["betas"]
        updates = torch._foreach_lerp(momenta, grads, 1 - here)
        torch._foreach_sign_(updates)
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, updates, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, grads, 1 - memory)


def build(groups: list[dict[str, Any]], settings: OptimSettings) -> torch.optim.Optimizer:
    """Return Lion over `groups`."""
    return Lion(groups, betas=settings.used_betas)
