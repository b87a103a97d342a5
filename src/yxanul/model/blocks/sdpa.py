"""Scaled dot-product attention: PyTorch's, and one for training in bf16 on the CPU.

The CPU's flash kernel leaves its matrix units idle in the backward pass in bf16; plain matrix
products over blocks of queries are about three times as fast.

Letters: B batch, T time (queries), S keys, H query heads, G key and value heads, R query heads to
a key head (H = G R), K head width; in a block N = B G rows of matrices, Q queries (of R heads).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from yxanul.model.blocks.eager import is_eager_cpu

QUERIES_IN_BLOCK = 128


def attend(
    q_BTHK: Tensor, k_BSGK: Tensor, v_BSGK: Tensor, mask: Tensor | None, is_causal: bool
) -> Tensor:
    """Return softmax(q k^T / sqrt(K)) v, BTHK, over the keys that each query sees.

    These are the keys where `mask` (bool, broadcasts to BHTS) is true; without a mask those up to
    the query's own if `is_causal`, else all.
    """
    trains = torch.is_grad_enabled() and q_BTHK.shape[1] == k_BSGK.shape[1]
    if trains and is_eager_cpu(q_BTHK) and q_BTHK.dtype == torch.bfloat16:
        return CpuAttention.apply(q_BTHK, k_BSGK, v_BSGK, mask)
    return _flash(q_BTHK, k_BSGK, v_BSGK, mask, is_causal)


def _flash(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
    return F.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in (q, k, v)),
        attn_mask=mask,
        is_causal=is_causal and mask is None,
        enable_gqa=q.shape[2] != k.shape[2],
    ).transpose(1, 2)


class CpuAttention(torch.autograd.Function):
    """Causal attention of q_BTHK, k_BTGK, v_BTGK and a causal bool mask (B1TT), or None."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return BTHK, and keep what the backward pass recomputes from."""
        ctx.save_for_backward(q, k, v, mask)
        return _flash(q, k, v, mask, is_causal=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BTHK: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradients of q, k and v, block of queries by block of queries."""
        q_BTHK, k_BTGK, v_BTGK, mask = ctx.saved_tensors
        batch, length, groups, _ = k_BTGK.shape
        k_NTK, v_NTK = (x.transpose(1, 2).flatten(0, 1) for x in (k_BTGK, v_BTGK))
        d_q_BTHK = torch.empty_like(q_BTHK, memory_format=torch.contiguous_format)
        d_k_NTK, d_v_NTK = torch.zeros_like(k_NTK), torch.zeros_like(v_NTK)
        q, grad, d_q = (_by_group(x, groups) for x in (q_BTHK, grad_BTHK, d_q_BTHK))
        for start in range(0, length, QUERIES_IN_BLOCK):
            block = slice(start, min(start + QUERIES_IN_BLOCK, length))
            seen = slice(0, block.stop)
            q_BGRtK, grad_BGRtK = q[..., block, :], grad[..., block, :]
            d_q_NQK = _block_backward(
                (q_BGRtK.reshape(batch * groups, -1, q.shape[-1]), k_NTK[:, seen], v_NTK[:, seen]),
                grad_BGRtK.reshape(batch * groups, -1, q.shape[-1]),
                _bias(mask, block, q_BGRtK),
                (d_k_NTK[:, seen], d_v_NTK[:, seen]),
            )
            d_q[..., block, :] = d_q_NQK.view(q_BGRtK.shape)
        d_k, d_v = (x.unflatten(0, (batch, groups)).transpose(1, 2) for x in (d_k_NTK, d_v_NTK))
        return d_q_BTHK, d_k, d_v, None


def _by_group(x_BTHK: Tensor, groups: int) -> Tensor:
    """View BTHK as BGRTK: the query heads of a key head side by side."""
    return x_BTHK.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4)


def _block_backward(
    qkv: tuple[Tensor, Tensor, Tensor], grad_NQK: Tensor, bias: Tensor, d_kv: tuple[Tensor, Tensor]
) -> Tensor:
    """Recompute one block's attention; add to the gradients of k and v, return that of q."""
    (q_NQK, k_NSK, v_NSK), (d_k_NSK, d_v_NSK) = qkv, d_kv
    scale = q_NQK.shape[-1] ** -0.5
    scores_NQS = torch.baddbmm(bias, q_NQK, k_NSK.transpose(1, 2), alpha=scale)
    share_NQS = torch.softmax(scores_NQS, -1)
    d_share_NQS = torch.bmm(grad_NQK, v_NSK.transpose(1, 2))
    d_scores_NQS = torch.ops.aten._softmax_backward_data(d_share_NQS, share_NQS, -1, q_NQK.dtype)
    d_k_NSK.baddbmm_(d_scores_NQS.transpose(1, 2), q_NQK, alpha=scale)
    d_v_NSK.baddbmm_(share_NQS.transpose(1, 2), grad_NQK)
    return torch.bmm(d_scores_NQS, k_NSK).mul_(scale)


def _bias(mask: Tensor | None, block: slice, q_BGRtK: Tensor) -> Tensor:
    """Return 0 where a query of the block sees a key, else -inf; broadcasts to NQS."""
    batch, groups, repeats, queries, _ = q_BGRtK.shape
    if mask is None:
        bias_tS = q_BGRtK.new_full((queries, block.stop), -torch.inf).triu_(block.start + 1)
        return bias_tS.repeat(repeats, 1)
    seen_B11tS = mask[:, :, block, : block.stop].unsqueeze(1)
    bias = q_BGRtK.new_zeros(seen_B11tS.shape).masked_fill_(~seen_B11tS, -torch.inf)
    shape = (batch, groups, repeats, queries, block.stop)
    return bias.expand(shape).reshape(batch * groups, repeats * queries, block.stop)
