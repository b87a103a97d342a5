"""What an attention back end is.

Letters: B batch, T time, H query heads, G key and value heads, K head width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yxanul.model.attention.mask import MaskSpec


class Shape(NamedTuple):
    """Everything that decides which back ends support a pass, and how fast they are."""

    device: str
    """Type of the device: cpu, cuda."""
    dtype: torch.dtype
    batch: int
    length: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    window: int | None
    """None also where the window is wider than the sequence."""
    documents: bool

    @property
    def is_causal_only(self) -> bool:
        """Whether the mask is the causal one: no window, no documents."""
        return self.window is None and not self.documents


class Backend(ABC):
    """Causal self-attention of whole sequences, forward and backward, by one implementation."""

    name: str

    def unsupported_reason(self, shape: Shape) -> str | None:
        """Return why this back end does not support a shape, or None if it does."""
        return None

    def prepare(self, mask_spec: MaskSpec, shape: Shape, device: torch.device) -> Any:
        """Return what `attend` needs of the mask, shared by all layers with it."""
        return mask_spec

    def context(self, mask_spec: MaskSpec, shape: Shape, device: torch.device) -> AttentionContext:
        """Return what the layers of one kind share during a forward pass."""
        return AttentionContext(mask_spec, self, self.prepare(mask_spec, shape, device))

    @abstractmethod
    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, prepared: Any, scale: float
    ) -> Tensor:
        """Return softmax(scale q k^T) v over the keys that the mask allows, BTHK; `prepared` is
        what `prepare` returned."""


class AttentionContext(NamedTuple):
    """Mask and back end shared by all layers of one kind for one forward pass."""

    mask_spec: MaskSpec
    backend: Backend
    prepared: Any

    def attend(self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, scale: float) -> Tensor:
        """Return softmax(scale q k^T) v over the keys that the mask allows, BTHK."""
        return self.backend.attend(q_BTHK, k_BTGK, v_BTGK, self.prepared, scale)
