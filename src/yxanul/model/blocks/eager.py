"""When to use the kernels that are written for the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def is_eager_cpu(x: Tensor) -> bool:
    """Return whether `x` is computed on the CPU op by op; compilers fuse the plain formulas."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()
