"""Transformer block."""

from __future__ import annotations

from torch import Tensor, nn

from yxanul.model.blocks.attention import Attention
from yxanul.model.blocks.ffn import FFNS
from yxanul.model.blocks.norm import NORMS, no_norm
from yxanul.model.config import ModelSettings
from yxanul.model.context import ForwardContext


class Block(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x)); with post_norm each update is normalised too.

    Letters: B batch, T time, D width.
    """

    def __init__(self, settings: ModelSettings, layer: int):
        super().__init__()
        norm = NORMS[settings.norm]
        self.attention_norm = norm(settings.width, settings.norm_eps)
        self.attention = Attention(settings, layer)
        self.ffn_norm = norm(settings.width, settings.norm_eps)
        self.ffn = FFNS[settings.ffn](settings.width, settings.ffn_width)
        after = norm if settings.post_norm else no_norm
        self.attention_post_norm = after(settings.width, settings.norm_eps)
        self.ffn_post_norm = after(settings.width, settings.norm_eps)

    def forward(self, x_BTD: Tensor, context: ForwardContext) -> Tensor:
        """Return the residual stream after this layer, BTD."""
        update_BTD = self.attention(self.attention_norm(x_BTD), context)
        x_BTD = x_BTD + self.attention_post_norm(update_BTD)
        return x_BTD + self.ffn_post_norm(self.ffn(self.ffn_norm(x_BTD)))
