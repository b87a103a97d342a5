"""Inputs of every block besides the residual stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yxanul.model.attention.backend import AttentionContext
from yxanul.model.attention.sdpa import MaskedAttention
from yxanul.model.blocks.rope import Rope
from yxanul.model.cache import KvCache


@dataclass(frozen=True, slots=True)
class ForwardContext:
    """Inputs of one forward pass, shared by all layers of a kind (global or local)."""

    ropes: dict[str, Rope]
    """By kind of layer, G or L; empty without RoPE."""
    attention: Mapping[str, AttentionContext | MaskedAttention]
    """Mask and backend by kind of layer."""
    cache: KvCache | None = None
