"""One token a row through the whole model, for decoding on a CPU.

With one token there is so little to compute that calling modules and making small tensors takes
most of the time. Here it is the same arithmetic with as few operations as possible: `hidden` and
`logits` of the model, which it is tested against.

Letters: B rows, D width, M query, key and value heads (in this order), N key and value heads,
H query heads, G key heads, R = H / G, S slots, K head width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from yxanul.model.blocks.block import Block
from yxanul.model.blocks.ffn import GatedFfn
from yxanul.model.blocks.norm import LayerNorm, RmsNorm
from yxanul.model.blocks.rope import Rope
from yxanul.model.cache import KvCache
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel

Function = Callable[[Tensor], Tensor]


class TokenStep:
    """From each row's newest id to the scores of the next one; the cache counts along."""

    def __init__(self, model: LanguageModel, cache: KvCache):
        self._model = model
        self._cache = cache
        self._layers = [_flatten(block, model.settings) for block in model.blocks]
        self._norm = _norm(model.norm)

    @torch.inference_mode()
    def __call__(self, ids_B1: Tensor) -> Tensor:
        """Return the scores BV of what follows `ids_B1`."""
        model, cache = self._model, self._cache
        positions, side = model.beside(ids_B1, None, cache)
        x_BD = model.embedding(ids_B1, positions).squeeze(1)
        turns = {kind: _turn(rope, model.settings) for kind, rope in side.ropes.items()}
        masks = {kind: view.mask for kind, view in cache.views(1, ids_B1.device).items()}
        for number, layer in enumerate(self._layers):
            kind = cache.kinds[number]
            qkv_BMK = layer.qkv(layer.attention_norm(x_BD))
            if kind in turns:
                qkv_BMK = _turned(qkv_BMK, turns[kind])
            q_BHK, kv_BNK = qkv_BMK.tensor_split((layer.num_heads,), 1)
            kv_BSNK = cache.append(number, kv_BNK.unsqueeze(1))
            y_BD = layer.output(_attend(q_BHK, kv_BSNK, masks[kind], layer.scale))
            x_BD = x_BD + layer.attention_post_norm(y_BD)
            x_BD = x_BD + layer.ffn_post_norm(layer.ffn(layer.ffn_norm(x_BD)))
        cache.advance(1)
        return model.logits(self._norm(x_BD))


class _Layer(NamedTuple):
    """A block as functions of rows."""

    attention_norm: Function
    qkv: Function
    """From BD to BMK, queries and keys normalised if they are to be."""
    output: Function
    """From BHK to BD."""
    attention_post_norm: Function
    ffn_norm: Function
    ffn: Function
    ffn_post_norm: Function
    num_heads: int
    scale: float


def _flatten(block: Block, settings: ModelSettings) -> _Layer:
    attention = block.attention
    return _Layer(
        _norm(block.attention_norm),
        _qkv(block, settings),
        _linear(attention.output.weight, flatten=True),
        _norm(block.attention_post_norm),
        _norm(block.ffn_norm),
        _ffn(block),
        _norm(block.ffn_post_norm),
        settings.num_heads,
        attention.scale,
    )


def _linear(weight: Tensor, flatten: bool = False) -> Function:
    """Return x W^T; a single row in bf16 is faster as a vector."""

    def linear(x: Tensor) -> Tensor:
        x_BD = x.flatten(1) if flatten else x
        if len(x_BD) == 1 and weight.dtype == torch.bfloat16:
            return torch.mv(weight, x_BD[0]).unsqueeze(0)
        return F.linear(x_BD, weight)

    return linear


def _norm(module: torch.nn.Module) -> Function:
    """Return a norm over the last axis of BD; the mean square is a product, not a reduction."""
    if isinstance(module, LayerNorm):
        return module
    if not isinstance(module, RmsNorm):
        return lambda x: x
    gain, eps = module.factor().float(), torch.full((1, 1, 1), module.eps)
    mean = 1 / len(gain)

    def norm(x_BD: Tensor) -> Tensor:
        wide = x_BD.float().unsqueeze(1)
        mean_B11 = torch.baddbmm(eps, wide, wide.transpose(1, 2), alpha=mean)
        return (wide * mean_B11.rsqrt_()).mul_(gain).squeeze(1).to(x_BD.dtype)

    return norm


def _qkv(block: Block, settings: ModelSettings) -> Function:
    linear, attention = _linear(block.attention.qkv.weight), block.attention
    shape = (-1, attention.head_width)
    if not settings.qk_norm:
        return lambda x_BD: linear(x_BD).unflatten(1, shape)

    def qkv(x_BD: Tensor) -> Tensor:
        q, k, v = linear(x_BD).unflatten(1, shape).split(attention.heads, 1)
        return torch.cat([attention.q_norm(q), attention.k_norm(k), v], 1)

    return qkv


def _ffn(block: Block) -> Function:
    if not isinstance(block.ffn, GatedFfn):
        return block.ffn
    gate_up, down = _linear(block.ffn.gate_up.weight), _linear(block.ffn.down.weight)
    activation = block.ffn.activation.value

    def ffn(x_BD: Tensor) -> Tensor:
        gate_BF, up_BF = gate_up(x_BD).tensor_split(2, 1)
        return down(activation(gate_BF).mul_(up_BF))

    return ffn


def _turn(rope: Rope, settings: ModelSettings) -> Rope:
    """Return angles for all heads, MK or BMK: those of the values are zero."""
    turned = settings.num_heads + settings.num_kv_heads
    cos, sin = (table.squeeze(-3) for table in rope)
    shape = (*cos.shape[:-2], turned, cos.shape[-1])
    rest = (*cos.shape[:-2], settings.num_kv_heads, cos.shape[-1])
    return Rope(
        torch.cat([cos.expand(shape), cos.new_ones(rest)], -2),
        torch.cat([sin.expand(shape), sin.new_zeros(rest)], -2),
    )


def _turned(x_BMK: Tensor, turn: Rope) -> Tensor:
    return torch.addcmul(x_BMK * turn.cos, x_BMK.roll(x_BMK.shape[-1] // 2, -1), turn.sin)


def _attend(q_BHK: Tensor, kv_BSNK: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Return BHK; the heads that share keys are several queries of one head."""
    k_BGSK, v_BGSK = kv_BSNK.transpose(1, 2).tensor_split(2, 1)
    q_BGRK = q_BHK.view(len(q_BHK), k_BGSK.shape[1], -1, q_BHK.shape[-1])
    y_BGRK = F.scaled_dot_product_attention(q_BGRK, k_BGSK, v_BGSK, mask, scale=scale)
    return y_BGRK.reshape(q_BHK.shape)
