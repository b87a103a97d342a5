"""Gradient norm and clipping."""

# torch's multi-tensor operations are public in all but name.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import math
from collections.abc import Iterable

import torch


@torch.no_grad()
def clip_gradients(parameters: Iterable[torch.nn.Parameter], max_norm: float | None) -> float:
    """Scale all gradients so that their joint norm is at most `max_norm`; return it as it was.

    The norm is taken in fp32. It is finite only if every gradient is; otherwise nothing is scaled
    and the update must not be applied.
    """
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not grads:
        return 0.0
    norms = torch._foreach_norm(grads, 2, dtype=torch.float32)
    norm = float(torch.linalg.vector_norm(torch.stack(list(norms))))
    if max_norm is not None and math.isfinite(norm) and norm > max_norm:
        torch._foreach_mul_(grads, max_norm / norm)
    return norm
