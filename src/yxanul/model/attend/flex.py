"""FlexAttention: windows and documents as a rule that skips whole blocks (arXiv 2412.05496).

Letters: B batch, T time, H query heads, G key and value heads, K head width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from yxanul.model.attend.backend import Backend, Shape, View
from yxanul.model.attend.sight import Sight
from yxanul.model.compiler import reason_against_compiling


class Flex(Backend):
    """torch.nn.attention.flex_attention, compiled, on a GPU; it skips blocks that see nothing."""

    name = "flex"

    def reason_against(self, shape: Shape) -> str | None:
        """On a CPU it has no backward pass; its compiled kernels want heads of at least 16."""
        if shape.device != "cuda":
            return "no backward pass without a GPU"
        if shape.head_width < 16:
            return "head width below 16"
        reason = reason_against_compiling(shape.device)
        return None if reason is None else f"torch.compile does not work here: {reason}"

    def prepare(self, sight: Sight, shape: Shape, device: torch.device) -> Any:
        """Return the map of the blocks that are seen; kept for passes without documents."""
        if sight.documents_BT is None:
            return _block_mask_without_documents(shape.length, sight.window, device)
        return _block_mask(sight, shape.batch, shape.length, device)

    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, view: View, scale: float
    ) -> Tensor:
        """Return the weighted means of the values, BTHK."""
        y_BHTK = _flex_attention()(
            *(x.transpose(1, 2) for x in (q_BTHK, k_BTGK, v_BTGK)),
            block_mask=view.prepared,
            scale=scale,
            enable_gqa=q_BTHK.shape[2] != k_BTGK.shape[2],
        )
        return y_BHTK.transpose(1, 2)


def rule(sight: Sight) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return the rule (batch, head, query, key) -> whether the query sees the key."""
    window, documents_BT = sight.window, sight.documents_BT

    def sees(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        mask = key <= query
        if window is not None:
            mask = mask & (query - key < window)
        if documents_BT is not None:
            mask = mask & (documents_BT[b, query] == documents_BT[b, key])
        return mask

    return sees


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def _block_mask_without_documents(length: int, window: int | None, device: torch.device) -> Any:
    return _block_mask(Sight(window), None, length, device)


def _block_mask(sight: Sight, batch: int | None, length: int, device: torch.device) -> Any:
    return create_block_mask(rule(sight), batch, None, length, length, device=device)


def _flex_attention() -> Callable[..., Any]:
    """Return the function: compiled by itself, unless what calls it is being compiled."""
    return flex_attention if torch.compiler.is_compiling() else _compiled()


@functools.cache
def _compiled() -> Callable[..., Any]:
    return torch.compile(flex_attention, dynamic=False)
