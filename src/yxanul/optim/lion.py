"""Lion (Chen et al. 2023, arXiv 2302.06675): updates by the sign of an interpolated momentum.

Use a learning rate three to ten times smaller than AdamW's, and a weight decay larger by the same
factor.
"""

# torch's multi-tensor operations are not exported publicly.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yxanul.optim.base import GroupwiseOptimizer
from yxanul.optim.config import OptimSettings


class Lion(GroupwiseOptimizer):
    """Lion; its state, one momentum per element, is half of AdamW's."""

    def __init__(self, groups: list[dict[str, Any]], settings: OptimSettings):
        super().__init__(groups, {"betas": settings.used_betas})

    def _step(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        momenta = self._zeros("momentum", params)
        beta1, beta2 = group["betas"]
        updates = torch._foreach_lerp(momenta, grads, 1 - beta1)
        torch._foreach_sign_(updates)
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, updates, alpha=-group["lr"])
        torch._foreach_lerp_(momenta, grads, 1 - beta2)


build = Lion
