"""Adafactor (Shazeer and Stern 2018, arXiv 1804.04235) with the scheduled learning rate.

The second moment of a matrix is stored as row and column means, which takes little memory. There
is no momentum and no scaling by the RMS of the weights, so that learning rates are comparable to
AdamW's. (torch's Adafactor caps the rate at 1 / sqrt(step).)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yxanul.optim.base import GroupwiseOptimizer
from yxanul.optim.config import OptimSettings

MEMORY_POWER = -0.8
"""Weight of the newest squared gradient in the running mean: step ** MEMORY_POWER."""
LARGEST_UPDATE = 1.0
"""Maximum RMS of an update, before the learning rate."""


class Adafactor(GroupwiseOptimizer):
    """Adafactor without momentum."""

    def __init__(self, groups: list[dict[str, Any]], settings: OptimSettings):
        super().__init__(groups, {"eps": settings.used_eps})

    def _step(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        for param, grad in zip(params, grads, strict=True):
            param.mul_(1 - group["lr"] * group["weight_decay"])
            param.sub_(self._direction(param, grad, group["eps"]), alpha=group["lr"])

    def _direction(self, param: Tensor, grad: Tensor, eps: float) -> Tensor:
        state = self.state[param]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            for name, mean in _means(torch.zeros_like(param)).items():
                state[name] = mean
        state["step"] += 1
        newest = float(state["step"]) ** MEMORY_POWER
        for name, mean in _means(grad.square() + eps).items():
            state[name].lerp_(mean, newest)
        update = grad * _inverse_root(state)
        size = update.square().mean().sqrt() / LARGEST_UPDATE
        return update.div_(size.clamp_(min=1.0))


def _means(squares: Tensor) -> dict[str, Tensor]:
    """Return the row and column means (reduced axes have length 1), or the squares if 1-D."""
    if squares.ndim < 2:
        return {"square": squares}
    return {"rows": squares.mean(-1, keepdim=True), "columns": squares.mean(-2, keepdim=True)}


def _inverse_root(state: dict[str, Tensor]) -> Tensor:
    if "square" in state:
        return state["square"].rsqrt()
    rows, columns = state["rows"], state["columns"]
    # Roots are taken separately: the product of two means of tiny gradients underflows in fp32.
    return (rows / rows.mean(-2, keepdim=True)).rsqrt() * columns.rsqrt()


build = Adafactor
