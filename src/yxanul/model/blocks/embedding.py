"""Token embedding.

Letters: B batch, T time, D width, V vocabulary (stored rows), R rank.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yxanul.model.blocks.linear import Linear
from yxanul.model.config import ModelSettings


class Embedding(nn.Module):
    """V x D table or, factorised, V x R times R x D; plus learned positions if enabled."""

    def __init__(self, settings: ModelSettings):
        super().__init__()
        row = settings.embedding_rank or settings.width
        self.tokens = nn.Parameter(torch.empty(settings.padded_vocab_size, row))
        self.projection = Linear(row, settings.width) if settings.embedding_rank else None
        self.scale = settings.width**0.5 if settings.embedding_scale else None
        self.positions = None
        if "learned" in settings.positions:
            self.positions = nn.Parameter(torch.empty(settings.max_seq_len, settings.width))

    def forward(self, ids_BT: Tensor, positions: Tensor | slice) -> Tensor:
        """Return x_BTD; `positions` is a slice of the position table, or an index BT."""
        x_BTD = F.embedding(ids_BT, self.tokens)
        if self.projection is not None:
            x_BTD = self.projection(x_BTD)
        if self.scale is not None:
            x_BTD = x_BTD * torch.tensor(self.scale, dtype=x_BTD.dtype)
        if self.positions is not None:
            x_BTD = x_BTD + self.positions[positions]
        return x_BTD
