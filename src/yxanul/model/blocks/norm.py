"""Norms. They compute in fp32 internally, whatever the input's dtype.

Letters: B batch, T time, D width (or the head width, for q- and k-norm).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_OUTPUT_MASK = [True, True, False]
"""Gradients requested from LayerNorm's backward kernel: input and weight; there is no bias."""


def is_eager_cpu(x: Tensor) -> bool:
    """Return whether to use handwritten CPU kernels; torch.compile fuses the plain formulas."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


class RmsNorm(nn.Module):
    """y = gain * x / sqrt(mean(x^2) + eps) over the last axis (arXiv 1910.07467)."""

    start = 1.0
    """Initial value of the gain."""

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), self.start))
        self.eps = eps

    def factor(self) -> Tensor:
        """Return the multiplier of the normalised values."""
        return self.gain

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised, in the same shape."""
        if is_eager_cpu(x):
            return _CpuRmsNorm.apply(x, self.gain, self.eps)
        return F.rms_norm(x, self.gain.shape, self.gain, self.eps)


class ZeroCenteredRmsNorm(RmsNorm):
    """RMSNorm times 1 + gain: weight decay pulls the factor to 1 (Gemma, arXiv 2403.08295)."""

    start = 0.0

    def factor(self) -> Tensor:
        """Return the multiplier of the normalised values, in fp32."""
        return 1.0 + self.gain.float()

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised, in the same shape; computed in fp32."""
        factor = self.factor()
        if is_eager_cpu(x):
            return _CpuRmsNorm.apply(x, factor, self.eps)
        return F.rms_norm(x.float(), factor.shape, factor, self.eps).to(x.dtype)


class LayerNorm(nn.Module):
    """y = gain * (x - mean(x)) / sqrt(var(x) + eps) over the last axis, without a bias."""

    start = 1.0

    def __init__(self, width: int, eps: float):
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), self.start))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised, in the same shape."""
        return F.layer_norm(x, self.gain.shape, self.gain, None, self.eps)


class _CpuRmsNorm(torch.autograd.Function):
    """RMSNorm for the CPU, where PyTorch has fused kernels only for LayerNorm.

    LayerNorm's backward kernel takes the mean and scale of the forward pass. With a mean of zero
    its result lacks a single term of RMSNorm's gradient, which is added afterwards.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        wide = x.to(torch.float32, copy=True)
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, gain, scale)
        return wide.mul_(scale).mul_(gain.float()).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, gain, scale = ctx.saved_tensors
        # fp32: in bf16 the kernel would accumulate the gain's gradient over all rows in bf16.
        grad, wide, wide_gain = (t.float() for t in (grad.contiguous(), x, gain))
        d_x, d_gain, _ = torch.ops.aten.native_layer_norm_backward(
            grad, wide, gain.shape, torch.zeros_like(scale), scale, wide_gain, None, _OUTPUT_MASK
        )
        missing = (grad @ wide_gain).unsqueeze(-1) * (scale / x.shape[-1])
        return d_x.add_(missing).to(x.dtype), d_gain.to(gain.dtype), None


NORMS: dict[str, type[RmsNorm] | type[LayerNorm]] = {
    "rmsnorm": RmsNorm,
    "zero_centered_rmsnorm": ZeroCenteredRmsNorm,
    "layernorm": LayerNorm,
}


def no_norm(width: int, eps: float) -> nn.Module:
    """Return the identity: a norm constructor for disabled norms."""
    return nn.Identity()
