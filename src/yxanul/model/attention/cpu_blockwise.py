"""Blockwise attention for the CPU: no T x T mask, and the backward pass uses matrix products.

PyTorch's own CPU kernel does not use the bf16 matrix units in its backward pass; matrix products
over blocks of queries are about three times as fast. A block reads only the keys that its queries
may attend to, so a sliding window saves work.

Letters: B batch, T time, S keys, H query heads, G key and value heads, R query heads to a key
head (H = G R), K head width; in a block N = B G rows of matrices, Q queries (of R heads).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from yxanul.model.attention.backend import Backend, Shape
from yxanul.model.attention.mask import MaskSpec
from yxanul.model.attention.sdpa import sdpa

QUERIES_IN_BLOCK = 128


class CpuBlockwise(Backend):
    """Attention over one block of queries at a time, on the CPU."""

    name = "cpu_blockwise"

    def unsupported_reason(self, shape: Shape) -> str | None:
        """CPU only."""
        return None if shape.device == "cpu" else "for the CPU only"

    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, prepared: Any, scale: float
    ) -> Tensor:
        """Return softmax(scale q k^T) v, BTHK."""
        if torch.is_grad_enabled():
            return _BlockAttention.apply(q_BTHK, k_BTGK, v_BTGK, prepared, scale)
        return _forward(q_BTHK, k_BTGK, v_BTGK, prepared, scale)


def _ranges(length: int, window: int | None) -> list[tuple[slice, slice]]:
    """Return each block of queries with the keys that any of them may attend to."""
    found = []
    for start in range(0, length, QUERIES_IN_BLOCK):
        stop = min(start + QUERIES_IN_BLOCK, length)
        first = 0 if window is None else max(0, start - window + 1)
        found.append((slice(start, stop), slice(first, stop)))
    return found


def _forward(q: Tensor, k: Tensor, v: Tensor, mask_spec: MaskSpec, scale: float) -> Tensor:
    if mask_spec.is_causal_only(q.shape[1]):
        return sdpa(q, k, v, None, True, scale)
    y = torch.empty_like(q, memory_format=torch.contiguous_format)
    for block, seen in _ranges(q.shape[1], mask_spec.window):
        mask = mask_spec.mask(block, seen, q.device)
        y[:, block] = sdpa(q[:, block], k[:, seen], v[:, seen], mask, False, scale)
    return y


class _BlockAttention(torch.autograd.Function):
    """The backward pass recomputes each block's scores."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask_spec: MaskSpec, scale: float
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, mask_spec.documents_BT)
        ctx.window, ctx.scale = mask_spec.window, scale
        return _forward(q, k, v, mask_spec, scale)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad_BTHK: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q_BTHK, k_BTGK, v_BTGK, documents_BT = ctx.saved_tensors
        mask_spec = MaskSpec(ctx.window, documents_BT)
        batch, length, groups, _ = k_BTGK.shape
        k_NTK, v_NTK = (x.transpose(1, 2).flatten(0, 1) for x in (k_BTGK, v_BTGK))
        d_q_BTHK = torch.empty_like(q_BTHK, memory_format=torch.contiguous_format)
        d_k_NTK, d_v_NTK = torch.zeros_like(k_NTK), torch.zeros_like(v_NTK)
        q, grad, d_q = (_by_group(x, groups) for x in (q_BTHK, grad_BTHK, d_q_BTHK))
        for block, seen in _ranges(length, mask_spec.window):
            q_BGRtK, grad_BGRtK = q[..., block, :], grad[..., block, :]
            d_q_NQK = _block_backward(
                (q_BGRtK.reshape(batch * groups, -1, q.shape[-1]), k_NTK[:, seen], v_NTK[:, seen]),
                grad_BGRtK.reshape(batch * groups, -1, q.shape[-1]),
                _bias(mask_spec.mask(block, seen, q.device), q_BGRtK),
                (d_k_NTK[:, seen], d_v_NTK[:, seen]),
                ctx.scale,
            )
            d_q[..., block, :] = d_q_NQK.view(q_BGRtK.shape)
        d_k, d_v = (x.unflatten(0, (batch, groups)).transpose(1, 2) for x in (d_k_NTK, d_v_NTK))
        return d_q_BTHK, d_k, d_v, None, None


def _by_group(x_BTHK: Tensor, groups: int) -> Tensor:
    """View BTHK as BGRTK: the query heads of each key head together."""
    return x_BTHK.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4)


def _block_backward(
    qkv: tuple[Tensor, Tensor, Tensor],
    grad_NQK: Tensor,
    bias: Tensor,
    d_kv: tuple[Tensor, Tensor],
    scale: float,
) -> Tensor:
    """Recompute one block's attention; add to the gradients of k and v, return that of q."""
    (q_NQK, k_NSK, v_NSK), (d_k_NSK, d_v_NSK) = qkv, d_kv
    scores_NQS = torch.baddbmm(bias, q_NQK, k_NSK.transpose(1, 2), alpha=scale)
    share_NQS = torch.softmax(scores_NQS, -1)
    d_share_NQS = torch.bmm(grad_NQK, v_NSK.transpose(1, 2))
    d_scores_NQS = torch.ops.aten._softmax_backward_data(d_share_NQS, share_NQS, -1, q_NQK.dtype)
    d_k_NSK.baddbmm_(d_scores_NQS.transpose(1, 2), q_NQK, alpha=scale)
    d_v_NSK.baddbmm_(share_NQS.transpose(1, 2), grad_NQK)
    return torch.bmm(d_scores_NQS, k_NSK).mul_(scale)


def _bias(mask: Tensor, q_BGRtK: Tensor) -> Tensor:
    """Return 0 where a query of the block sees a key, else -inf; broadcasts to NQS."""
    batch, groups, repeats, queries, _ = q_BGRtK.shape
    bias = q_BGRtK.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)
    if mask.ndim == 2:
        return bias.repeat(repeats, 1)
    shape = (batch, groups, repeats, queries, mask.shape[-1])
    return bias.unsqueeze(1).expand(shape).reshape(batch * groups, repeats * queries, -1)
