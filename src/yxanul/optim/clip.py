"""Gradient norm and clipping."""

# torch's multi-tensor operations are not exported publicly.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch


@torch.no_grad()
def clip_gradients(
    gradients: Iterable[torch.Tensor | None],
    max_norm: float | None,
    total: Callable[[float], float] | None = None,
) -> float:
    """Clip the gradients to a global norm of at most `max_norm`; return the norm before clipping.

    The norm is computed in fp32. It is finite only if every gradient is; otherwise nothing is
    scaled and the update must not be applied. If gradients are sharded, `total` sums a number over
    all ranks.
    """
    grads = [gradient for gradient in gradients if gradient is not None]
    norm = 0.0
    if grads:
        norms = torch._foreach_norm(grads, 2, dtype=torch.float32)
        norm = float(torch.linalg.vector_norm(torch.stack(list(norms))))
    if total is not None:
        norm = math.sqrt(total(norm * norm))
    if grads and max_norm is not None and math.isfinite(norm) and norm > max_norm:
        torch._foreach_mul_(grads, max_norm / norm)
    return norm
