"""Muon: orthogonalized momentum for matrices; AdamW for embeddings and norms.

Shapes: G matrices of equal shape, R rows, C columns, M = min(R, C).

Muon is by Jordan et al. 2024 (kellerjordan.github.io/posts/muon). The update scale is that of Liu
et al. 2025 (arXiv 2502.16982): 0.2 sqrt(max(R, C)) matches the RMS of an AdamW update for any
shape. Orthogonal updates tolerate a higher learning rate than AdamW's.
"""

# torch's multi-tensor operations are not exported publicly.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from yxanul.optim.adamw import AdamW
from yxanul.optim.config import OptimSettings

MOMENTUM = 0.95
FIRST_MOMENTUM = 0.85
"""Momentum of a stage's first update: early gradients change too fast for a long memory."""
MOMENTUM_WARMUP_STEPS = 300
"""Updates in which it rises to `MOMENTUM` (Jordan et al. 2024, modded-nanogpt)."""
UPDATE_RMS = 0.2
MUON_LR_RATIO = 4.0
"""Default muon_lr / peak_lr: the best of 1, 2, 4 and 8 on small models."""
NUM_ITERATIONS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial that maps singular values in (0, 1] near 1 in five rounds."""


class TensorGather:
    """No-op for unsharded parameters; overridden in `train/parallel/fsdp.py`."""

    def shape(self, param: Tensor) -> torch.Size:
        """Return the full shape of a parameter."""
        return param.shape

    def all_gather(self, params: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
        """Gather values that belong to parameters of one shape."""
        return list(values)

    def shard(self, whole: Tensor) -> Tensor:
        """Return this rank's shard of a full tensor."""
        return whole


class Muon(AdamW):
    """Muon for groups with `orthogonal`, AdamW for all others."""

    def __init__(self, groups: list[dict[str, Any]], settings: OptimSettings):
        super().__init__(groups, settings)
        self.gather = TensorGather()
        self.dtype = torch.float32
        """Dtype of the orthogonalization."""

    def _step(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        step = self._step_muon if group.get("orthogonal") else super()._step
        step(params, grads, group)

    def _step_muon(self, params: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> None:
        momenta, steps = self._zeros("momentum", params), self._steps(params)
        warm = (steps[0] / MOMENTUM_WARMUP_STEPS).clamp(max=1)
        momentum = FIRST_MOMENTUM + (MOMENTUM - FIRST_MOMENTUM) * warm
        torch._foreach_add_(steps, 1)
        fresh = torch._foreach_mul(grads, 1 - momentum)
        torch._foreach_mul_(momenta, momentum)
        torch._foreach_add_(momenta, fresh)
        nesterov = torch._foreach_mul(momenta, momentum)
        torch._foreach_add_(nesterov, fresh)
        del fresh
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for number, param in enumerate(params):
            by_shape[self.gather.shape(param)].append(number)
        for shape, members in by_shape.items():
            targets = [params[i] for i in members]
            wholes = self.gather.all_gather(targets, [nesterov[i] for i in members])
            updates = map(self.gather.shard, orthogonalize(wholes, self.dtype))
            size = UPDATE_RMS * math.sqrt(max(shape))
            torch._foreach_add_(targets, list(updates), alpha=-group["lr"] * size)


def build(groups: list[dict[str, Any]], settings: OptimSettings) -> torch.optim.Optimizer:
    """Return Muon over the matrices of `groups` and AdamW over the rest, as one optimizer."""
    for group in groups:
        if group["role"] == "matrix":
            rate = settings.muon_lr or MUON_LR_RATIO * settings.peak_lr
            group["base_lr"] = group["lr"] = rate * settings.lr_scale_by_role.get("matrix", 1.0)
            group["orthogonal"] = True
    return Muon(groups, settings)


def orthogonalize(matrices: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return the (approximately) nearest orthogonal matrix of each, computed in `dtype`.

    All have the same shape and are stacked: one batched product is faster than many small ones.
    """
    first = matrices[0]
    stack_GRC = first.new_empty(len(matrices), *first.shape, dtype=dtype)
    norms = torch._foreach_norm(matrices, 2, dtype=torch.float32)
    for matrix, norm, slot in zip(matrices, norms, stack_GRC, strict=True):
        torch.mul(matrix, 1 / (norm + 1e-7), out=slot)
    return list(newton_schulz(stack_GRC))


def newton_schulz(x_GRC: Tensor) -> Tensor:
    """Bring the singular values of each matrix, which must be at most 1, near 1."""
    a, b, c = QUINTIC
    is_tall = x_GRC.shape[1] > x_GRC.shape[2]
    for _ in range(NUM_ITERATIONS):
        pair = (x_GRC.mT, x_GRC) if is_tall else (x_GRC, x_GRC.mT)
        gram_GMM = torch.bmm(*pair)
        poly_GMM = torch.baddbmm(gram_GMM, gram_GMM, gram_GMM, beta=b, alpha=c)
        pair = (x_GRC, poly_GMM) if is_tall else (poly_GMM, x_GRC)
        x_GRC = torch.baddbmm(x_GRC, *pair, beta=a)
    return x_GRC
