"""What an attention back end is.

Letters: B batch, T time, H query heads, G key and value heads, K head width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from yxanul.model.attend.sight import Sight


class Shape(NamedTuple):
    """Everything that the speed of attention depends on, and whether it can be done at all."""

    device: str
    """Its type: cpu, cuda."""
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
    def is_plain(self) -> bool:
        """Whether nothing but causality matters."""
        return self.window is None and not self.documents


class Backend(ABC):
    """Causal self-attention of whole sequences, forward and backward, by one implementation."""

    name: str

    def reason_against(self, shape: Shape) -> str | None:
        """Return why this back end cannot do a shape, or None if it can."""
        return None

    def prepare(self, sight: Sight, shape: Shape, device: torch.device) -> Any:
        """Return what all layers of the same sight share (a mask, lengths), made once a pass."""
        return None

    def view(self, sight: Sight, shape: Shape, device: torch.device) -> View:
        """Return what the layers of one kind need for a pass."""
        return View(sight, shape, self, self.prepare(sight, shape, device))

    @abstractmethod
    def attend(
        self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, view: View, scale: float
    ) -> Tensor:
        """Return softmax(scale q k^T) v over the keys in sight, BTHK."""


class View(NamedTuple):
    """What the layers of one kind see in one pass, and who computes it."""

    sight: Sight
    shape: Shape
    backend: Backend
    prepared: Any

    def attend(self, q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, scale: float) -> Tensor:
        """Return softmax(scale q k^T) v over the keys in sight, BTHK."""
        return self.backend.attend(q_BTHK, k_BTGK, v_BTGK, self, scale)
