"""Attention back ends: one function, several kernels, and the rule that chooses among them."""

from yxanul.model.attention.backend import Backend, Shape
from yxanul.model.attention.cpu_blockwise import CpuBlockwise
from yxanul.model.attention.flash import Flash, Varlen
from yxanul.model.attention.flex import Flex
from yxanul.model.attention.reference import Reference
from yxanul.model.attention.sdpa import Sdpa

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (Reference(), Sdpa(), CpuBlockwise(), Flex(), Varlen(), Flash())
}
"""By name; the others are tested against `reference`."""

__all__ = ["BACKENDS", "Backend", "Shape"]
