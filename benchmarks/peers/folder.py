"""The folder of the common start weights, and what peers do with it to fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


def read_config(folder: str) -> dict[str, Any]:
    """Return the config.json of the model, its keys as `transformers` has them."""
    return json.loads((Path(folder) / "config.json").read_text())


def load_tensors(folder: str) -> dict[str, Tensor]:
    """Return the weights by the names of `transformers`; a factorised embedding, which that does
    not know, is model.embed_tokens.weight (V x r) and model.embed_projection.weight (D x r)."""
    return load_file(Path(folder) / "model.safetensors")


def padded(table: Tensor, rows: int) -> Tensor:
    """Return the table with rows of zeros below."""
    return torch.cat([table, table.new_zeros(rows - len(table), table.shape[1])])


def joined_qkv(tensors: dict[str, Tensor], layer: int) -> Tensor:
    """Return a layer's query, key and value matrices on top of each other."""
    attention = f"model.layers.{layer}.self_attn"
    return torch.cat([tensors[f"{attention}.{name}_proj.weight"] for name in "qkv"])


def autocast(job: dict[str, Any]) -> torch.autocast:
    """Return what the forward pass of a peer runs in."""
    return torch.autocast(job["device"], torch.bfloat16, enabled=job["precision"] == "bf16")
