"""Reference attention: the formula, with all scores in memory.

Letters: B batch, T time, S keys, H query heads, G key and value heads, R = H / G, K head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from yxanul.model.attention.backend import Backend, Shape
from yxanul.model.attention.mask import MaskSpec


class Reference(Backend):
    """softmax(scale q k^T) v with an fp32 softmax; the other back ends are tested against it."""

    name = "reference"

    def prepare(self, mask_spec: MaskSpec, shape: Shape, device: torch.device) -> Tensor:
        """Return the whole mask, TS or B1TS."""
        return mask_spec.mask(slice(0, shape.length), slice(0, shape.length), device)

    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, prepared: Any, scale: float
    ) -> Tensor:
        """Return softmax(scale q k^T) v, BTHK."""
        q_BTGRK = q_BTHK.unflatten(2, (k_BTGK.shape[2], -1))
        scores_BGRTS = torch.einsum("btgrk,bsgk->bgrts", q_BTGRK, k_BTGK).float() * scale
        mask = prepared if prepared.ndim == 2 else prepared.unsqueeze(1)
        share_BGRTS = scores_BGRTS.masked_fill(~mask, -torch.inf).softmax(-1).to(v_BTGK.dtype)
        return torch.einsum("bgrts,bsgk->btgrk", share_BGRTS, v_BTGK).flatten(2, 3)
