"""Causal self-attention: multi-head, grouped-query or multi-query.

Letters: B batch, T time, D width, H query heads, G key/value heads, N query, key and value heads,
K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from yxanul.model.blocks.linear import Linear
from yxanul.model.blocks.norm import NORMS, no_norm
from yxanul.model.blocks.rope import rotate
from yxanul.model.config import ModelSettings
from yxanul.model.context import ForwardContext


class Attention(nn.Module):
    """softmax(scale q k^T) v with a fused qkv projection (GQA: arXiv 2305.13245)."""

    def __init__(self, settings: ModelSettings, layer: int):
        super().__init__()
        self.layer = layer
        self.kind = settings.layer_kinds[layer]
        self.heads = (settings.num_heads, settings.num_kv_heads, settings.num_kv_heads)
        self.head_width = settings.head_width
        self.scale = settings.query_scale or settings.head_width**-0.5
        self.qkv = Linear(settings.width, sum(self.heads) * settings.head_width)
        self.output = Linear(settings.num_heads * settings.head_width, settings.width)
        norm = NORMS[settings.norm] if settings.qk_norm else no_norm
        self.q_norm = norm(settings.head_width, settings.norm_eps)
        self.k_norm = norm(settings.head_width, settings.norm_eps)

    def forward(self, x_BTD: Tensor, context: ForwardContext) -> Tensor:
        """Return the update of the residual stream, BTD."""
        qkv_BTNK = self.qkv(x_BTD).unflatten(-1, (-1, self.head_width))
        q_BTHK, k_BTGK, v_BTGK = qkv_BTNK.split(self.heads, dim=2)
        q_BTHK, k_BTGK = self.q_norm(q_BTHK), self.k_norm(k_BTGK)
        if context.ropes:
            rope = context.ropes[self.kind]
            q_BTHK, k_BTGK = rotate(q_BTHK, rope), rotate(k_BTGK, rope)
        if context.cache is not None:
            kv_BSNK = context.cache.append(self.layer, torch.cat([k_BTGK, v_BTGK], 2))
            k_BTGK, v_BTGK = kv_BSNK.chunk(2, dim=2)
        y_BTHK = context.attention[self.kind].attend(q_BTHK, k_BTGK, v_BTGK, self.scale)
        return self.output(y_BTHK.flatten(2))
