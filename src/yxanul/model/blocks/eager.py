"""When to use the handwritten CPU kernels."""

from __future__ import annotations

import torch
from torch import Tensor


def is_eager_cpu(x: Tensor) -> bool:
    """Return whether `x` is on the CPU in eager mode; torch.compile fuses the plain formulas."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()
