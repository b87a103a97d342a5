"""What travels beside the residual stream through every block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yxanul.model.attend.backend import View
from yxanul.model.attend.sdpa import Masked
from yxanul.model.blocks.rope import Rope
from yxanul.model.cache import KvCache


@dataclass(frozen=True, slots=True)
class Side:
    """The side inputs of one forward pass; some differ between global and local layers."""

    ropes: dict[str, Rope]
    """By kind of layer, G or L; empty without rotary positions."""
    views: Mapping[str, View | Masked]
    """What a layer's queries see and who computes it, by kind."""
    cache: KvCache | None = None
