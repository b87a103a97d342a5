"""Attention back ends: the same function on different hardware, and which to use for a shape."""

from yxanul.model.attend.backend import Backend, Shape
from yxanul.model.attend.blocks import Blocks
from yxanul.model.attend.flash import Flash, Varlen
from yxanul.model.attend.flex import Flex
from yxanul.model.attend.plain import Plain
from yxanul.model.attend.sdpa import Sdpa

BACKENDS: dict[str, Backend] = {
    backend.name: backend for backend in (Plain(), Sdpa(), Blocks(), Flex(), Varlen(), Flash())
}
"""All of them; `plain` is the definition that the others are tested against."""

__all__ = ["BACKENDS", "Backend", "Shape"]
