"""Names and shapes of a model's projections, which fp8 computes. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from yxanul.model.config import ModelSettings
from yxanul.model.count import count_parameters


class Projection(NamedTuple):
    """One weight matrix of a block; several may be fused into one module."""

    name: str
    """For example `blocks.3.attention.q`."""
    module: str
    """Module that holds its rows, for example `blocks.3.attention.qkv`."""
    width_in: int
    width_out: int


def projections(settings: ModelSettings) -> list[Projection]:
    """Return q, k, v, o, gate, up and down of every block (plain FFNs have no gate)."""
    return [matrix for layer in range(settings.depth) for matrix in _of_block(settings, layer)]


def projection_modules(settings: ModelSettings) -> list[str]:
    """Return the names of the modules that hold the projections, in the model's order."""
    return list(dict.fromkeys(matrix.module for matrix in projections(settings)))


def fp8_share(settings: ModelSettings) -> float:
    """Return the share of the stored parameters (including padding) computed in fp8."""
    in_fp8 = sum(matrix.width_in * matrix.width_out for matrix in projections(settings))
    stored = settings.model_copy(update={"vocab_size": settings.num_stored_tokens})
    return in_fp8 / count_parameters(stored)


def _of_block(settings: ModelSettings, layer: int) -> Iterator[Projection]:
    width, ffn_width = settings.width, settings.ffn_width
    queries = settings.num_heads * settings.head_width
    keys = settings.num_kv_heads * settings.head_width
    attention, ffn = f"blocks.{layer}.attention", f"blocks.{layer}.ffn"
    for name, size in (("q", queries), ("k", keys), ("v", keys)):
        yield Projection(f"{attention}.{name}", f"{attention}.qkv", width, size)
    yield Projection(f"{attention}.o", f"{attention}.output", queries, width)
    inner = ("gate", "up") if settings.ffn in ("swiglu", "geglu") else ("up",)
    for name in inner:
        yield Projection(f"{ffn}.{name}", f"{ffn}.{'_'.join(inner)}", width, ffn_width)
    yield Projection(f"{ffn}.down", f"{ffn}.down", ffn_width, width)
