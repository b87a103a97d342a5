"""FlexAttention: window and document masks that skip whole blocks (arXiv 2412.05496).

Letters: B batch, T time, H query heads, G key and value heads, K head width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from yxanul.model.attention.backend import Backend, Shape
from yxanul.model.attention.mask import MaskSpec
from yxanul.model.compile import compile_unsupported_reason, compiled


class Flex(Backend):
    """torch.nn.attention.flex_attention, compiled, on a GPU; it skips fully masked blocks."""

    name = "flex"

    def unsupported_reason(self, shape: Shape) -> str | None:
        """No backward pass on CPUs; its compiled kernels require a head width of at least 16."""
        if shape.device != "cuda":
            return "no backward pass without a GPU"
        if shape.head_width < 16:
            return "head width below 16"
        reason = compile_unsupported_reason(shape.device)
        return None if reason is None else f"torch.compile does not work here: {reason}"

    def prepare(self, mask_spec: MaskSpec, shape: Shape, device: torch.device) -> Any:
        """Return the block mask; cached when there are no documents."""
        if mask_spec.documents_BT is None:
            return _block_mask_without_documents(shape.length, mask_spec.window, device)
        return _block_mask(mask_spec, shape.batch, shape.length, device)

    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, prepared: Any, scale: float
    ) -> Tensor:
        """Return softmax(scale q k^T) v, BTHK."""
        y_BHTK = _flex_attention()(
            *(x.transpose(1, 2) for x in (q_BTHK, k_BTGK, v_BTGK)),
            block_mask=prepared,
            scale=scale,
            enable_gqa=q_BTHK.shape[2] != k_BTGK.shape[2],
        )
        return y_BHTK.transpose(1, 2)


def mask_mod(mask_spec: MaskSpec) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return FlexAttention's mask_mod: (batch, head, query, key) -> allowed."""
    window, documents_BT = mask_spec.window, mask_spec.documents_BT

    def allowed(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        mask = key <= query
        if window is not None:
            mask = mask & (query - key < window)
        if documents_BT is not None:
            mask = mask & (documents_BT[b, query] == documents_BT[b, key])
        return mask

    return allowed


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def _block_mask_without_documents(length: int, window: int | None, device: torch.device) -> Any:
    return _block_mask(MaskSpec(window), None, length, device)


def _block_mask(mask_spec: MaskSpec, batch: int | None, length: int, device: torch.device) -> Any:
    return create_block_mask(mask_mod(mask_spec), batch, None, length, length, device=device)


def _flex_attention() -> Callable[..., Any]:
    """Return the function, compiled unless its caller is being compiled."""
    return flex_attention if torch.compiler.is_compiling() else compiled(flex_attention)
