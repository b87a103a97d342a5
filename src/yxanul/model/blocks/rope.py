"""Rotary positions, in rotate-half form (arXiv 2104.09864).

Letters: B batch, T time, N heads of any kind, K head width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Rope(NamedTuple):
    """Cosines and signed sines of the angles, one row a position; shapes broadcast to BTNK."""

    cos: Tensor
    sin: Tensor

    def at(self, positions: Tensor | slice, dtype: torch.dtype) -> Rope:
        """Return the rows of `positions` (a slice, or an index BT), ready for BTNK."""
        return Rope(*(table[positions].unsqueeze(-2).to(dtype) for table in self))


def rope_tables(length: int, head_width: int, theta: float) -> Rope:
    """Return the fp32 tables TK for positions 0 .. length - 1."""
    pairs = torch.arange(0, head_width, 2, dtype=torch.float64) / head_width
    angles = torch.outer(torch.arange(length, dtype=torch.float64), theta**-pairs)
    cos, sin = angles.cos().float(), angles.sin().float()
    return Rope(torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1))


def rotate(x_BTNK: Tensor, rope: Rope) -> Tensor:
    """Turn every pair of features (i, i + K/2) by its angle."""
    return _Rotation.apply(x_BTNK, rope.cos.to(x_BTNK.dtype), rope.sin.to(x_BTNK.dtype))


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    y = x * cos
    (x_low, x_high), (y_low, y_high) = x.chunk(2, -1), y.chunk(2, -1)
    sin_low, sin_high = sin.chunk(2, -1)
    y_low.addcmul_(x_high, sin_low)
    y_high.addcmul_(x_low, sin_high)
    return y


class _Rotation(torch.autograd.Function):
    """A rotation is orthogonal: its backward pass is the rotation by the opposite angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, -sin), None, None
