"""PyTorch's own attention.

Letters: B batch, T time (queries), S keys, H query heads, G key and value heads, K head width.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from yxanul.model.attention.backend import Backend, Shape
from yxanul.model.attention.mask import MaskSpec


class Sdpa(Backend):
    """F.scaled_dot_product_attention; windows and documents need a T x T mask."""

    name = "sdpa"

    def prepare(self, mask_spec: MaskSpec, shape: Shape, device: torch.device) -> Tensor | None:
        """Return the T x T mask unless the kernel's causal one is enough."""
        if mask_spec.is_causal_only(shape.length):
            return None
        return mask_spec.mask(slice(0, shape.length), slice(0, shape.length), device)

    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, prepared: Any, scale: float
    ) -> Tensor:
        """Return softmax(scale q k^T) v, BTHK."""
        return sdpa(q_BTHK, k_BTGK, v_BTGK, prepared, prepared is None, scale)


class MaskedAttention(NamedTuple):
    """Attention of new tokens over a KV cache: to all its keys, or to those of a mask."""

    mask: Tensor | None

    def attend(self, q_BTHK: Tensor, k_BSGK: Tensor, v_BSGK: Tensor, scale: float) -> Tensor:
        """Return softmax(scale q k^T) v, BTHK."""
        return sdpa(q_BTHK, k_BSGK, v_BSGK, self.mask, False, scale)


def sdpa(
    q_BTHK: Tensor,
    k_BSGK: Tensor,
    v_BSGK: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float,
) -> Tensor:
    """Return BTHK; a query attends to the keys where `mask` (broadcasts to BHTS) is true.

    Without a mask it attends to those up to its own index if `is_causal`, else to all.
    """
    if q_BTHK.shape[1] == 1:
        return _one_query(q_BTHK, k_BSGK, v_BSGK, mask, scale)
    repeats = q_BTHK.shape[2] // k_BSGK.shape[2]
    if repeats > 1 and not _shares_heads(q_BTHK, mask):
        k_BSGK, v_BSGK = (x.repeat_interleave(repeats, 2) for x in (k_BSGK, v_BSGK))
        repeats = 1
    return F.scaled_dot_product_attention(
        *(x.transpose(1, 2) for x in (q_BTHK, k_BSGK, v_BSGK)),
        attn_mask=mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=repeats > 1,
    ).transpose(1, 2)


def _shares_heads(q: Tensor, mask: Tensor | None) -> bool:
    """Return whether a fused kernel supports fewer key heads than query heads.

    On a GPU only the half-precision ones without a mask do; for others the heads are repeated.
    """
    return q.device.type != "cuda" or (mask is None and q.dtype != torch.float32)


def _one_query(
    q_B1HK: Tensor, k_BSGK: Tensor, v_BSGK: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """Attention of one query a row: the heads that share keys become several queries of one."""
    q_BGRK = q_B1HK.squeeze(1).unflatten(1, (k_BSGK.shape[2], -1))
    k_BGSK, v_BGSK = k_BSGK.transpose(1, 2), v_BSGK.transpose(1, 2)
    y_BGRK = F.scaled_dot_product_attention(q_BGRK, k_BGSK, v_BGSK, mask, scale=scale)
    return y_BGRK.flatten(1, 2).unsqueeze(1)
