"""PyTorch's own attention.

Letters: B batch, T time (queries), S keys, H query heads, G key and value heads, K head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from yxanul.model.attend.backend import Backend, Shape, View
from yxanul.model.attend.sight import Sight


class Sdpa(Backend):
    """F.scaled_dot_product_attention; windows and documents need a mask of T x T."""

    name = "sdpa"

    def prepare(self, sight: Sight, shape: Shape, device: torch.device) -> Tensor | None:
        """Return the whole mask unless the kernel's own causal one is enough."""
        if sight.is_plain(shape.length):
            return None
        return sight.mask(slice(0, shape.length), slice(0, shape.length), device)

    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, view: View, scale: float
    ) -> Tensor:
        """Return the weighted means of the values, BTHK."""
        return sdpa(q_BTHK, k_BTGK, v_BTGK, view.prepared, view.prepared is None, scale)


class Masked(NamedTuple):
    """What tokens see that follow others in a cache: all keys, or those of a mask."""

    mask: Tensor | None

    def attend(self, q_BTHK: Tensor, k_BSGK: Tensor, v_BSGK: Tensor, scale: float) -> Tensor:
        """Return the weighted means of the values, BTHK."""
        return sdpa(q_BTHK, k_BSGK, v_BSGK, self.mask, False, scale)


def sdpa(
    q_BTHK: Tensor,
    k_BSGK: Tensor,
    v_BSGK: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float,
) -> Tensor:
    """Return BTHK; a query sees the keys where `mask` (broadcasts to BHTS) is true.

    Without a mask it sees those up to its own index if `is_causal`, else all.
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
    """Return whether a kernel that never holds all scores takes fewer key heads than queries.

    On a GPU only those for half precision without a mask do; the others want the heads repeated.
    """
    return q.device.type != "cuda" or (mask is None and q.dtype != torch.float32)


def _one_query(
    q_B1HK: Tensor, k_BSGK: Tensor, v_BSGK: Tensor, mask: Tensor | None, scale: float
) -> Tensor:
    """Let the heads that share keys be several queries of one head."""
    q_BGRK = q_B1HK.squeeze(1).unflatten(1, (k_BSGK.shape[2], -1))
    k_BGSK, v_BGSK = k_BSGK.transpose(1, 2), v_BSGK.transpose(1, 2)
    y_BGRK = F.scaled_dot_product_attention(q_BGRK, k_BGSK, v_BGSK, mask, scale=scale)
    return y_BGRK.flatten(1, 2).unsqueeze(1)
