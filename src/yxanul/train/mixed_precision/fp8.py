"""fp8 projections in every block, computed by torchao or Transformer Engine.

Embeddings, norms, softmax and head stay in bf16; loss, accumulated gradients, master weights and
optimizer state in fp32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

import torch

from yxanul.base.errors import YxanulError
from yxanul.model.blocks.linear import Linear
from yxanul.model.language_model import LanguageModel
from yxanul.train.mixed_precision import ao, te
from yxanul.train.mixed_precision.config import FP8_MULTIPLE, Fp8Settings, fp8_misfit

Context = Callable[[], AbstractContextManager[Any]]


def has_fp8(device: torch.device) -> bool:
    """Return whether the device supports fp8: NVIDIA from Ada on, AMD from MI300 on."""
    if device.type != "cuda":
        return False
    least = (8, 9) if torch.version.hip is None else (9, 4)
    return torch.cuda.get_device_capability(device) >= least


def is_installed(engine: str) -> bool:
    """Return whether an engine's package is installed, without importing it."""
    return engine != "none" and find_spec(engine) is not None


def projection_modules(model: LanguageModel) -> list[str]:
    """Return the names of the modules that fp8 computes: all linear layers of the blocks."""
    linear = (name for name, module in model.named_modules() if isinstance(module, Linear))
    return [name for name in linear if name.startswith("blocks.")]


def to_fp8(model: LanguageModel, settings: Fp8Settings) -> Context:
    """Replace the model's projections by fp8 layers; return the context for its forward pass.

    On hardware without fp8, torchao's layers are emulated: correct, but slower than bf16.
    """
    device = model.embedding.tokens.device
    misfit, names = fp8_misfit(model.settings), projection_modules(model)
    if misfit is not None:
        raise YxanulError(
            f"fp8 requires dimensions divisible by {FP8_MULTIPLE}", got=f"model.{misfit}"
        )
    if settings.engine == "torchao":
        ao.swap_layers(model, names, settings.scaling, emulate=not has_fp8(device))
        return contextlib.nullcontext
    if settings.engine == "transformer_engine":
        if not has_fp8(device):
            raise YxanulError(
                "train.fp8.engine transformer_engine requires a GPU with fp8",
                got=str(device),
                hint="torchao emulates fp8 on any device",
            )
        return te.swap_layers(model, names).entered
    raise YxanulError("precision fp8 needs an engine", got="train.fp8.engine none")
