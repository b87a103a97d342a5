"""What every block gets besides the residual stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yxanul.model.attention.backend import AttentionContext
from yxanul.model.attention.sdpa import MaskedAttention
from yxanul.model.blocks.rope import Rope
from yxanul.model.cache import KvCache


@dataclass(frozen=True, slots=True)
class ForwardContext:
    """Inputs of one forward pass that all layers of a kind (global or local) share."""

    ropes: dict[str, Rope]
    """By kind of layer, G or L; empty without rotary positions."""
    attention: Mapping[str, AttentionContext | MaskedAttention]
    """Mask and back end by kind of layer."""
    cache: KvCache | None = None
