"""Fast single-token decoding on a CPU.

With one token per row, module calls and small allocations take most of the time. This computes the
same as the model's `hidden` and `logits` with as few operations as possible, each writing into a
preallocated tensor.

Letters: B rows, D width, M query, key and value heads in this order, N key and value heads,
H query heads, G key heads, R = H / G, S slots, K head width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from yxanul.model.attention.sdpa import MaskedAttention
from yxanul.model.blocks.attention import Attention
from yxanul.model.blocks.block import Block
from yxanul.model.blocks.ffn import GatedFfn, PlainFfn
from yxanul.model.blocks.norm import RmsNorm
from yxanul.model.blocks.rope import Rope
from yxanul.model.cache import CacheSlot, KvCache
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel

Action = Callable[[], object]
"""A closure that reads and writes preallocated tensors."""


class CpuDecoder:
    """Computes next-token logits from each row's newest token and advances the prefilled cache."""

    @torch.inference_mode()
    def __init__(self, model: LanguageModel, cache: KvCache):
        self._model = model
        self._cache = cache
        self._rows = _Rows(model.settings, cache.batch, model.embedding.tokens)
        self._layers = [
            _Layer(self._rows, block, cache.kinds[number], cache, number)
            for number, block in enumerate(model.layers())
        ]
        self._norm = _norm_into(model.norm, self._rows.x_BD, self._rows.h_BD)

    @torch.inference_mode()
    def __call__(self, ids_B1: Tensor) -> Tensor:
        """Return the logits BV of the tokens after `ids_B1`."""
        positions, context = self._model.forward_context(ids_B1, None, self._cache)
        self._rows.x_BD.copy_(self._model.embedding(ids_B1, positions).squeeze(1))
        rotations = {kind: _Rotation(rope) for kind, rope in context.ropes.items()}
        masks = {k: cast(MaskedAttention, one).mask for k, one in context.attention.items()}
        slots = {kind: self._cache.next_slot(kind) for kind in masks}
        for layer in self._layers:
            layer.run(rotations.get(layer.kind), slots[layer.kind], masks[layer.kind])
        self._cache.advance(1)
        self._norm()
        return self._model.logits(self._rows.h_BD)


class _Rows:
    """Buffers shared by all layers, and views into them."""

    def __init__(self, settings: ModelSettings, batch: int, like: Tensor):
        heads, groups, head_width = settings.num_heads, settings.num_kv_heads, settings.head_width

        def rows(*shape: int) -> Tensor:
            return like.new_zeros(batch, *shape)

        self.x_BD, self.h_BD, self.update_BD = (rows(settings.width) for _ in range(3))
        self.qkv_BMK, self.rotated_BMK = (rows(heads + 2 * groups, head_width) for _ in range(2))
        self.gate_up_B2F, self.inner_BF = rows(2, settings.ffn_width), rows(settings.ffn_width)
        rotated = heads + groups
        self.rotated = [(x[:, :rotated], x[:, rotated:]) for x in (self.qkv_BMK, self.rotated_BMK)]
        self.halves = [heads_BMK.tensor_split(2, -1) for heads_BMK, _ in self.rotated]


class _Rotation:
    """RoPE angles of one step, for queries and keys: cosines, and signed sines by halves."""

    def __init__(self, rope: Rope):
        self.cos, sin = (table.squeeze(-3) for table in rope)
        self.sin_low, self.sin_high = sin.tensor_split(2, -1)


class _Layer:
    """A block that reads and writes the buffers of `_Rows`."""

    def __init__(self, rows: _Rows, block: Block, kind: str, cache: KvCache, number: int):
        attention = block.attention
        self.kind, self._rows, self._cache, self._number = kind, rows, cache, number
        self._scale = attention.scale
        self._stored_BSNK = cache.layer_buffer(number)
        self._k_BGSK, self._v_BGSK = self._stored_BSNK.transpose(1, 2).tensor_split(2, 1)
        self._before_attention = _norm_into(block.attention_norm, rows.x_BD, rows.h_BD)
        self._qkv = _product(attention.qkv.weight, rows.h_BD, rows.qkv_BMK.flatten(1))
        self._qk_norm = _qk_norm(attention, rows.qkv_BMK)
        self._unrotated = _heads(rows.qkv_BMK, attention)
        self._after_rotation = _heads(rows.rotated_BMK, attention)
        self._add_output = _add_projection(attention.output.weight, block.attention_post_norm, rows)
        self._before_ffn = _norm_into(block.ffn_norm, rows.x_BD, rows.h_BD)
        self._activate_ffn = _ffn_activations(block.ffn, rows)
        self._add_down = _add_projection(block.ffn.down.weight, block.ffn_post_norm, rows)

    def run(self, rotation: _Rotation | None, slot: CacheSlot | None, mask: Tensor | None) -> None:
        """Add the attention and feed-forward updates to the residual stream."""
        self._before_attention()
        self._qkv()
        self._qk_norm()
        q_BGRK, kv_B1NK = self._unrotated if rotation is None else self._rotated(rotation)
        k_BGSK, v_BGSK = self._cached(kv_B1NK, slot)
        y_BGRK = nn.functional.scaled_dot_product_attention(
            q_BGRK, k_BGSK, v_BGSK, mask, scale=self._scale
        )
        self._add_output(y_BGRK.reshape(len(y_BGRK), -1))
        self._before_ffn()
        self._activate_ffn()
        self._add_down(self._rows.inner_BF)

    def _cached(self, kv_B1NK: Tensor, slot: CacheSlot | None) -> tuple[Tensor, Tensor]:
        """Store the token's keys and values; return all visible ones."""
        if slot is None:
            k, v = self._cache.append(self._number, kv_B1NK).transpose(1, 2).tensor_split(2, 1)
            return k, v
        self._stored_BSNK.narrow(1, slot.slot, 1).copy_(kv_B1NK)
        visible = slot.num_visible
        return self._k_BGSK.narrow(2, 0, visible), self._v_BGSK.narrow(2, 0, visible)

    def _rotated(self, rotation: _Rotation) -> tuple[Tensor, Tensor]:
        (qk, v), (qk_rotated, v_copy) = self._rows.rotated
        (low, high), (low_rotated, high_rotated) = self._rows.halves
        torch.mul(qk, rotation.cos, out=qk_rotated)
        low_rotated.addcmul_(high, rotation.sin_low)
        high_rotated.addcmul_(low, rotation.sin_high)
        v_copy.copy_(v)
        return self._after_rotation


def _heads(qkv_BMK: Tensor, attention: Attention) -> tuple[Tensor, Tensor]:
    """Return the queries as BGRK and the keys and values as B1NK."""
    num_heads, num_kv_heads, _ = attention.heads
    q_BHK, kv_BNK = qkv_BMK[:, :num_heads], qkv_BMK[:, num_heads:]
    return q_BHK.unflatten(1, (num_kv_heads, -1)), kv_BNK.unsqueeze(1)


def _norm_into(module: nn.Module, x_BD: Tensor, out_BD: Tensor) -> Action:
    """Return an action that writes the norm of x into `out`, which may be x itself.

    The mean square is computed as a matrix product: at this size faster than a reduction.
    """
    if not isinstance(module, RmsNorm):
        return lambda: out_BD.copy_(module(x_BD))
    gain, casts = module.factor().float(), x_BD.dtype != torch.float32
    wide_BD = torch.empty_like(x_BD, dtype=torch.float32) if casts else x_BD
    result_BD = wide_BD if casts else out_BD
    scale = _scale_of_one if len(x_BD) == 1 else _scale_of_many
    multiply = scale(wide_BD, gain, module.eps, result_BD)

    def norm() -> None:
        if casts:
            wide_BD.copy_(x_BD)
        multiply()
        if casts:
            out_BD.copy_(wide_BD)

    return norm


def _scale_of_one(x_1D: Tensor, gain: Tensor, eps: float, out_1D: Tensor) -> Action:
    """Return an action that writes gain * x / sqrt(mean(x^2) + eps) for a single row."""
    x_D, zero, width = x_1D[0], torch.zeros_like(gain), len(gain)

    def multiply() -> None:
        mean = torch.dot(x_D, x_D).item() / width
        torch.addcmul(zero, x_1D, gain, value=(mean + eps) ** -0.5, out=out_1D)

    return multiply


def _scale_of_many(x_BD: Tensor, gain: Tensor, eps: float, out_BD: Tensor) -> Action:
    """Return the action of `_scale_of_one` for several rows."""
    row_B1D, column_BD1 = x_BD.unsqueeze(1), x_BD.unsqueeze(2)
    eps_111, mean_B11 = x_BD.new_full((1, 1, 1), eps), x_BD.new_empty(len(x_BD), 1, 1)
    mean_B1, share = mean_B11.squeeze(2), 1 / len(gain)

    def multiply() -> None:
        torch.baddbmm(eps_111, row_B1D, column_BD1, alpha=share, out=mean_B11)
        torch.mul(x_BD, mean_B1.rsqrt_(), out=out_BD).mul_(gain)

    return multiply


def _product(weight: Tensor, x_BD: Tensor, out: Tensor) -> Action:
    """Return an action that writes x W^T into `out`; for a single bf16 row, mv is faster."""
    if len(x_BD) == 1 and weight.dtype == torch.bfloat16:
        x_D, out_1 = x_BD[0], out[0]
        return lambda: torch.mv(weight, x_D, out=out_1)
    transposed = weight.T
    return lambda: torch.mm(x_BD, transposed, out=out)


def _add_projection(
    weight: Tensor, post_norm: nn.Module, rows: _Rows
) -> Callable[[Tensor], object]:
    """Return an action that adds norm(y W^T) to the residual stream; fused if there is no norm."""
    x_BD, update_BD, transposed = rows.x_BD, rows.update_BD, weight.T
    single = len(x_BD) == 1 and weight.dtype == torch.bfloat16
    if isinstance(post_norm, nn.Identity) and not single:
        return lambda y: x_BD.addmm_(y, transposed)
    normalise = _norm_into(post_norm, update_BD, update_BD)

    def add(y: Tensor) -> None:
        if single:
            torch.mv(weight, y[0], out=update_BD[0])
        else:
            torch.mm(y, transposed, out=update_BD)
        normalise()
        x_BD.add_(update_BD)

    return add


def _qk_norm(attention: Attention, qkv_BMK: Tensor) -> Action:
    if isinstance(attention.q_norm, nn.Identity):
        return lambda: None
    q, k, _ = qkv_BMK.split(attention.heads, 1)

    def norm() -> None:
        q.copy_(attention.q_norm(q))
        k.copy_(attention.k_norm(k))

    return norm


def _ffn_activations(ffn: GatedFfn | PlainFfn, rows: _Rows) -> Action:
    """Return an action that computes the feed-forward's hidden activations."""
    if isinstance(ffn, PlainFfn):
        up, activation = ffn.up, ffn.activation
        return lambda: rows.inner_BF.copy_(activation(up(rows.h_BD)))
    fill = _product(ffn.gate_up.weight, rows.h_BD, rows.gate_up_B2F.flatten(1))
    gate_BF, up_BF = rows.gate_up_B2F.unbind(1)
    activate = ffn.activation.value

    def inner() -> None:
        fill()
        torch.mul(activate(gate_BF), up_BF, out=rows.inner_BF)

    return inner
