"""One set of random weights for all contenders, in a folder as `transformers` lays it out.

Matrices and tables are drawn from N(0, 0.02), as `LlamaForCausalLM` starts, gains are one (zero
where they are zero-centred). A factorised embedding, which `transformers` does not know, is stored
as `model.embed_tokens.weight` (V x r) and `model.embed_projection.weight` (D x r).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from harness.shapes import Shape
from yxanul.model.blocks.norm import NORMS
from yxanul.model.config import ModelSettings
from yxanul.model.convert.architectures import GEMMA3, LLAMA, Architecture
from yxanul.model.convert.names import tensor_names
from yxanul.model.convert.write import config_for

STD = 0.02


def write_weights(shape: Shape, folder: Path, seed: int = 0) -> None:
    """Write config.json and model.safetensors."""
    settings, architecture = shape.settings, GEMMA3 if shape.family == "gemma3" else LLAMA
    generator = torch.Generator().manual_seed(seed)
    gain = NORMS[settings.norm].start
    tensors = {}
    for name, size in tensor_sizes(settings, architecture).items():
        drawn = torch.empty(size)
        is_gain = len(size) == 1
        tensors[name] = (
            drawn.fill_(gain) if is_gain else drawn.normal_(0.0, STD, generator=generator)
        )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = config_for(settings, architecture)
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def tensor_sizes(settings: ModelSettings, architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the size of every tensor by its name in `transformers`."""
    rank = settings.embedding_rank
    sizes: dict[str, tuple[int, ...]] = {}
    if rank:
        sizes["model.embed_tokens.weight"] = settings.num_tokens, rank
        sizes["model.embed_projection.weight"] = settings.width, rank
    for theirs in tensor_names(settings, architecture).values():
        for name, size in theirs.items():
            sizes.setdefault(name, size)
    return sizes
