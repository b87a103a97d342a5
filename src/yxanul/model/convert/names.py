"""Mapping between `transformers` tensors and ours: names, shapes, fused matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from yxanul.model.config import ModelSettings
from yxanul.model.convert.architectures import Architecture

Shapes = dict[str, tuple[int, ...]]


def tensor_names(settings: ModelSettings, architecture: type[Architecture]) -> dict[str, Shapes]:
    """Map each of our tensors to theirs with their shapes, in the order of our tensor's rows."""
    table = settings.known_vocab_size, settings.width
    names: dict[str, Shapes] = {"embedding.tokens": {"model.embed_tokens.weight": table}}
    for n in range(settings.depth):
        for ours, theirs in _layer(settings, architecture).items():
            shapes = {f"model.layers.{n}.{name}.weight": shape for name, shape in theirs.items()}
            names[f"blocks.{n}.{ours}"] = shapes
    names["norm.gain"] = {"model.norm.weight": (settings.width,)}
    if settings.head == "untied":
        names["head"] = {"lm_head.weight": table}
    return names


def _layer(settings: ModelSettings, architecture: type[Architecture]) -> dict[str, Shapes]:
    width, ffn_width = settings.width, settings.ffn_width
    queries = settings.num_heads * settings.head_width
    keys = settings.num_kv_heads * settings.head_width
    names: dict[str, Shapes] = {
        "attention.qkv.weight": {
            "self_attn.q_proj": (queries, width),
            "self_attn.k_proj": (keys, width),
            "self_attn.v_proj": (keys, width),
        },
        "attention.output.weight": {"self_attn.o_proj": (width, queries)},
        "ffn.gate_up.weight": {
            "mlp.gate_proj": (ffn_width, width),
            "mlp.up_proj": (ffn_width, width),
        },
        "ffn.down.weight": {"mlp.down_proj": (width, ffn_width)},
    }
    for ours, theirs in architecture.norms.items():
        in_heads = ours.startswith("attention.")
        names[f"{ours}.gain"] = {theirs: (settings.head_width if in_heads else width,)}
    return names


def to_ours(
    names: Mapping[str, Shapes], read: Callable[[str], Tensor], settings: ModelSettings
) -> dict[str, Tensor]:
    """Return our tensors: theirs concatenated, with vocabulary tables zero-padded."""
    padding = settings.padded_vocab_size - settings.known_vocab_size
    result: dict[str, Tensor] = {}
    for ours, theirs in names.items():
        tensors = [read(name) for name in theirs]
        fused = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        is_table = ours in ("embedding.tokens", "head")
        result[ours] = F.pad(fused, (0, 0, 0, padding)) if is_table and padding else fused
    return result


def to_theirs(names: Mapping[str, Shapes], ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return their tensors, split from ours without the padding."""
    result: dict[str, Tensor] = {}
    for name, shapes in names.items():
        rows = [shape[0] for shape in shapes.values()]
        tensors = ours[name][: sum(rows)].split(rows)
        result |= dict(zip(shapes, tensors, strict=True))
    return result
