"""fp8: the projections of every block, by the engine that the settings name.

Embeddings, norms, softmax and head stay in bf16; the loss, sums of gradients, master weights and
the optimizer's state in fp32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

import torch

from yxanul.base.errors import YxanulError
from yxanul.model.language_model import LanguageModel
from yxanul.train.mixed_precision import ao, te
from yxanul.train.mixed_precision.config import FP8_MULTIPLE, Fp8Settings, fp8_misfit
from yxanul.train.mixed_precision.projections import projection_modules

Context = Callable[[], AbstractContextManager[Any]]


def has_fp8(device: torch.device) -> bool:
    """Say whether the device multiplies in fp8: NVIDIA's from Ada on, AMD's from MI300 on."""
    if device.type != "cuda":
        return False
    least = (8, 9) if torch.version.hip is None else (9, 4)
    return torch.cuda.get_device_capability(device) >= least


def is_installed(engine: str) -> bool:
    """Say whether the package of an engine is there, without importing it."""
    return engine != "none" and find_spec(engine) is not None


def to_fp8(model: LanguageModel, settings: Fp8Settings) -> Context:
    """Swap the model's projections for fp8 layers; return what its forward pass is to run in.

    Without fp8 in the hardware torchao's layers are emulated: right, and slower than bf16.
    """
    device = model.embedding.tokens.device
    misfit, names = fp8_misfit(model.settings), projection_modules(model.settings)
    if misfit is not None:
        raise YxanulError(f"fp8 wants sizes that {FP8_MULTIPLE} divides", got=f"model.{misfit}")
    if settings.engine == "torchao":
        ao.swap_layers(model, names, settings.scaling, emulate=not has_fp8(device))
        return contextlib.nullcontext
    if settings.engine == "transformer_engine":
        if not has_fp8(device):
            raise YxanulError(
                "train.fp8.engine transformer_engine wants a GPU with fp8",
                got=str(device),
                hint="torchao emulates fp8 anywhere",
            )
        return te.swap_layers(model, names).entered
    raise YxanulError("precision fp8 needs an engine", got="train.fp8.engine none")
