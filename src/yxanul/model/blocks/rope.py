"""Rotary position embedding in rotate-half form (RoPE, arXiv 2104.09864).

Letters: B batch, T time, N heads of any kind, K head width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Rope(NamedTuple):
    """Cosines and signed sines by position; broadcastable to BTNK."""

    cos: Tensor
    sin: Tensor


class RopeTables:
    """Cosine and sine tables up to the longest sequence so far, cached by device and dtype.

    Tables are exact in fp32 before the cast. They grow by doubling, as few sequences reach
    max_seq_len. Outgrown tables are kept alive: a captured CUDA graph may still read them.
    """

    def __init__(self, head_width: int, theta: float, max_seq_len: int):
        self._head_width = head_width
        self._theta = theta
        self._max_seq_len = max_seq_len
        self._tables: dict[tuple[torch.device, torch.dtype], Rope] = {}
        self._outgrown: list[Rope] = []

    def at(self, positions: Tensor | slice, end: int, like: Tensor) -> Rope:
        """Return the rows of `positions`, all below `end`, on the device of `like`, in its dtype.

        Positions are a slice, or an index BT.
        """
        key = (like.device, like.dtype)
        if key not in self._tables or len(self._tables[key].cos) < end:
            if key in self._tables:
                self._outgrown.append(self._tables[key])
            self._tables[key] = self._make(end, like)
        return Rope(*(table[positions].unsqueeze(-2) for table in self._tables[key]))

    @torch.inference_mode(False)
    def _make(self, end: int, like: Tensor) -> Rope:
        length = min(max(256, 2 ** (end - 1).bit_length()), self._max_seq_len)
        exact = rope_tables(length, self._head_width, self._theta)
        return Rope(*(table.to(like.device, like.dtype) for table in exact))


def rope_tables(length: int, head_width: int, theta: float) -> Rope:
    """Return the fp32 tables TK for positions 0 .. length - 1."""
    device = torch.device("cpu")
    pairs = torch.arange(0, head_width, 2, dtype=torch.float64, device=device) / head_width
    index = torch.arange(length, dtype=torch.float64, device=device)
    angles = torch.outer(index, theta**-pairs)
    cos, sin = angles.cos().float(), angles.sin().float()
    return Rope(torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1))


def rotate(x_BTNK: Tensor, rope: Rope) -> Tensor:
    """Rotate every pair of features (i, i + K/2) by its angle."""
    if not torch.is_grad_enabled():
        swapped = x_BTNK.roll(x_BTNK.shape[-1] // 2, -1)
        return torch.addcmul(x_BTNK * rope.cos, swapped, rope.sin)
    return _Rotation.apply(x_BTNK, rope.cos.to(x_BTNK.dtype), rope.sin.to(x_BTNK.dtype))


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    y = x * cos
    (x_low, x_high), (y_low, y_high) = x.chunk(2, -1), y.chunk(2, -1)
    sin_low, sin_high = sin.chunk(2, -1)
    y_low.addcmul_(x_high, sin_low)
    y_high.addcmul_(x_low, sin_high)
    return y


class _Rotation(torch.autograd.Function):
    """Rotation whose backward pass is the rotation by the opposite angle (it is orthogonal)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, -sin), None, None
