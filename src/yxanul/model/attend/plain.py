"""Attention as the formula says, with every score in memory.

Letters: B batch, T time, S keys, H query heads, G key and value heads, R = H / G, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from yxanul.model.attend.backend import Backend, Shape, View
from yxanul.model.attend.sight import Sight


class Plain(Backend):
    """softmax(scale q k^T) v, with the softmax in fp32: the definition."""

    name = "plain"

    def prepare(self, sight: Sight, shape: Shape, device: torch.device) -> Tensor:
        """Return the whole mask, TS or B1TS."""
        return sight.mask(slice(0, shape.length), slice(0, shape.length), device)

    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, view: View, scale: float
    ) -> Tensor:
        """Return the weighted means of the values, BTHK."""
        q_BTGRK = q_BTHK.unflatten(2, (k_BTGK.shape[2], -1))
        scores_BGRTS = torch.einsum("btgrk,bsgk->bgrts", q_BTGRK, k_BTGK).float() * scale
        mask = view.prepared if view.prepared.ndim == 2 else view.prepared.unsqueeze(1)
        share_BGRTS = scores_BGRTS.masked_fill(~mask, -torch.inf).softmax(-1).to(v_BTGK.dtype)
        return torch.einsum("bgrts,bsgk->btgrk", share_BGRTS, v_BTGK).flatten(2, 3)
