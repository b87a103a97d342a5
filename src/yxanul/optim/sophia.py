"""Sophia-G (Liu et al. 2023, arXiv 2305.14342): momentum divided by the diagonal Hessian, clipped.

The Hessian is estimated periodically (Gauss-Newton-Bartlett): the squared gradient for targets
sampled from the model's predictions, times the number of targets. `train/hessian.py` computes that
gradient. Until the first estimate, updates are the learning rate times the sign of the momentum.
"""

# torch's multi-tensor operations are not exported publicly.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yxanul.optim.base import GroupwiseOptimizer
from yxanul.optim.config import OptimSettings

HESSIAN_STEPS = 10
HESSIAN_SCALE = 0.05


class Sophia(GroupwiseOptimizer):
    """Sophia-G; its state, momentum and Hessian per element, is as large as AdamW's."""

    def __init__(self, groups: list[dict[str, Any]], settings: OptimSettings):
        defaults = {
            "betas": settings.used_betas,
            "eps": settings.used_eps,
            "hessian_scale": settings.hessian_scale or HESSIAN_SCALE,
        }
        super().__init__(groups, defaults)
        self.hessian_steps = settings.hessian_steps or HESSIAN_STEPS

    @torch.no_grad()
    def update_hessian(self, num_targets: int) -> None:
        """Update the Hessian from the gradients of a mean loss over `num_targets` samples."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    (curvature,) = self._zeros("curvature", [param])
                    estimate = param.grad.square().mul_(num_targets)
                    curvature.lerp_(estimate, 1 - group["betas"][1])

    def _step(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        momenta, curvatures = self._zeros("momentum", params), self._zeros("curvature", params)
        torch._foreach_lerp_(momenta, grads, 1 - group["betas"][0])
        scales = torch._foreach_mul(curvatures, group["hessian_scale"])
        torch._foreach_clamp_min_(scales, group["eps"])
        updates = torch._foreach_div(momenta, scales)
        torch._foreach_clamp_min_(updates, -1.0)
        torch._foreach_clamp_max_(updates, 1.0)
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(params, updates, alpha=-group["lr"])


build = Sophia
