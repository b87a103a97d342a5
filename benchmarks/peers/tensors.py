"""The common start weights, and what contenders do to them to fit."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the common weights by the names of `transformers`."""
    return load_file(folder / "model.safetensors")


def padded(table: Tensor, rows: int) -> Tensor:
    """Return the table with rows of zeros below."""
    return torch.cat([table, table.new_zeros(rows - len(table), table.shape[1])])


def joined_qkv(tensors: dict[str, Tensor], layer: int) -> Tensor:
    """Return a layer's query, key and value matrices on top of each other."""
    attention = f"model.layers.{layer}.self_attn"
    return torch.cat([tensors[f"{attention}.{name}_proj.weight"] for name in "qkv"])
