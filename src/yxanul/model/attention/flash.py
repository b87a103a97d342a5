"""Flash attention on a GPU: PyTorch's variable-length kernel, and the package flash-attn.

Both take windows without a mask, and documents as sequences of their own (arXiv 2307.08691).

Letters: B batch, T time, N = B T, H query heads, G key and value heads, K head width.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yxanul.model.attention.backend import Backend, Shape
from yxanul.model.attention.mask import MaskSpec, document_positions


class Sequences(NamedTuple):
    """Where the sequences of a batch begin when its rows are laid end to end."""

    starts: Tensor | None
    """The first token of each and, last, the number of tokens; int32. None: rows stay apart."""
    longest: int
    window_size: tuple[int, int]
    """Tokens seen before and after a query; -1 before it means all."""


def find_sequences(mask_spec: MaskSpec, batch: int, length: int, device: torch.device) -> Sequences:
    """Return the rows, or the documents within them, as sequences."""
    window_size = _window_size(mask_spec)
    if mask_spec.documents_BT is None:
        starts = torch.arange(0, (batch + 1) * length, length, dtype=torch.int32, device=device)
        return Sequences(starts, length, window_size)
    first_N = document_positions(mask_spec.documents_BT).flatten() == 0
    starts = torch.nonzero(first_N).squeeze(1).to(torch.int32)
    starts = torch.cat([starts, starts.new_full((1,), batch * length)])
    torch._dynamo.mark_dynamic(starts, 0)  # or every number of documents is compiled again
    return Sequences(starts, length, window_size)


class Varlen(Backend):
    """torch.nn.attention.varlen.varlen_attn."""

    name = "varlen"

    def unsupported_reason(self, shape: Shape) -> str | None:
        """A GPU, half precision, and a PyTorch whose kernel supports the shape."""
        reason = _flash_unsupported_reason(shape)
        if reason is not None:
            return reason
        arguments = _varlen_arguments()
        if shape.head_width % 8:
            return "head width is not a multiple of 8"
        if shape.num_heads != shape.num_kv_heads and "enable_gqa" not in arguments:
            return "this PyTorch's varlen_attn does not support grouped-query attention"
        has_windows = "window_size" in arguments
        return None if has_windows else "this PyTorch's varlen_attn does not support windows"

    def prepare(self, mask_spec: MaskSpec, shape: Shape, device: torch.device) -> Sequences:
        """Return where each sequence begins."""
        return find_sequences(mask_spec, shape.batch, shape.length, device)

    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, prepared: Any, scale: float
    ) -> Tensor:
        """Return softmax(scale q k^T) v, BTHK."""
        from torch.nn.attention.varlen import varlen_attn

        starts, longest, window_size = prepared
        grouped: dict[str, Any] = {"enable_gqa": True} if q_BTHK.shape[2] != k_BTGK.shape[2] else {}
        y_NHK = varlen_attn(
            q_BTHK.flatten(0, 1),
            k_BTGK.flatten(0, 1),
            v_BTGK.flatten(0, 1),
            starts,
            starts,
            longest,
            longest,
            scale=scale,
            window_size=window_size,
            **grouped,
        )
        assert isinstance(y_NHK, Tensor)
        return y_NHK.view(q_BTHK.shape)


class Flash(Backend):
    """The package flash-attn, where it is installed."""

    name = "flash"

    def unsupported_reason(self, shape: Shape) -> str | None:
        """A GPU, half precision, and the package."""
        reason = _flash_unsupported_reason(shape)
        return reason or (None if _flash_attn() else "the package flash-attn is not installed")

    def prepare(self, mask_spec: MaskSpec, shape: Shape, device: torch.device) -> Sequences:
        """Return where each document begins, if there are documents."""
        if mask_spec.documents_BT is None:
            return Sequences(None, shape.length, _window_size(mask_spec))
        return find_sequences(mask_spec, shape.batch, shape.length, device)

    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, prepared: Any, scale: float
    ) -> Tensor:
        """Return softmax(scale q k^T) v, BTHK."""
        package, (starts, longest, window_size) = _flash_attn(), prepared
        options = {"softmax_scale": scale, "causal": True, "window_size": window_size}
        if starts is None:
            return package.flash_attn_func(q_BTHK, k_BTGK, v_BTGK, **options)
        flat = (x.flatten(0, 1) for x in (q_BTHK, k_BTGK, v_BTGK))
        y_NHK = package.flash_attn_varlen_func(*flat, starts, starts, longest, longest, **options)
        return y_NHK.view(q_BTHK.shape)


def _window_size(mask_spec: MaskSpec) -> tuple[int, int]:
    """Return how many tokens are seen before and after a query; -1 before it means all."""
    return (-1 if mask_spec.window is None else mask_spec.window - 1, 0)


def _flash_unsupported_reason(shape: Shape) -> str | None:
    if shape.device != "cuda":
        return "no kernel without a GPU"
    if shape.dtype not in (torch.bfloat16, torch.float16):
        return "half precision only"
    if torch.cuda.get_device_capability() < (8, 0):
        return "needs compute capability 8.0"
    return None if shape.head_width <= 256 else "head width above 256"


@functools.cache
def _varlen_arguments() -> frozenset[str]:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    function: Callable[..., Any] = varlen_attn
    return frozenset(inspect.signature(function).parameters)


@functools.cache
def _flash_attn() -> Any:
    try:
        return importlib.import_module("flash_attn")
    except ImportError:
        return None
