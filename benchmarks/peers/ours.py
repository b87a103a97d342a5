"""yxanul: its model, its precision, its generation; the start weights of all; what is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from harness.shapes import Shape, shape_of
from peers import Trainee
from peers.folder import load_tensors
from yxanul.base.ui import SilentUi
from yxanul.generate.config import SampleSettings
from yxanul.generate.ids import next_tokens
from yxanul.model.convert.architectures import Architecture, Gemma3, Llama
from yxanul.model.convert.names import tensor_names, to_ours, to_theirs
from yxanul.model.convert.write import config_for
from yxanul.model.count import count_parameters, flops_per_token
from yxanul.model.language_model import LanguageModel
from yxanul.monitor.peak_flops import Peak, matmul_peak
from yxanul.stages.measure import describe_environment
from yxanul.train.config import TrainSettings
from yxanul.train.engine import make_mixed_precision
from yxanul.train.mixed_precision.weights import DTYPES

__all__ = ["count_parameters", "describe_environment", "flops_per_token"]  # for the benchmarks

_PROJECTION = "embedding.projection.weight"
_THEIR_PROJECTION = "model.embed_projection.weight"


def step(job: dict[str, Any], compiled: bool = False) -> Trainee:
    """Return our model as the trainer trains it."""
    settings, model = TrainSettings(compile=compiled), build_model(job)
    mixed = make_mixed_precision(model, settings, job["precision"], SilentUi())

    def loss(ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return mixed.model.loss(ids_BT, targets_BT).total / targets_BT.numel()

    copies = tuple(mixed.model.parameters())
    return Trainee(mixed.master_model, loss, mixed.collect, mixed.refresh, copies)


def decode(job: dict[str, Any]) -> Callable[[list[list[int]], int], list[list[int]]]:
    """Return what continues prompts greedily, as `yxanul generate` does at temperature 0."""
    model = build_model(job).eval()
    if job["precision"] == "bf16":
        model = model.to(torch.bfloat16)

    def continued(prompts: list[list[int]], num_new: int) -> list[list[int]]:
        steps = next_tokens(model, prompts, SampleSettings(temperature=0, max_tokens=num_new))
        return [list(row) for row in zip(*steps, strict=True)]

    return continued


def build_model(job: dict[str, Any]) -> LanguageModel:
    """Return our model with the common weights."""
    shape, given = shape_of(job), load_tensors(job["weights"])
    names = tensor_names(shape.settings, _architecture(shape))
    tensors = to_ours(names, given.__getitem__, shape.settings)
    if shape.settings.embedding_rank:
        tensors[_PROJECTION] = given[_THEIR_PROJECTION]
    model = LanguageModel(shape.settings)
    model.load_state_dict(tensors)
    return model.to(job["device"])


def write_weights(shape: Shape, folder: Path, seed: int) -> None:
    """Write random weights for all contenders into a folder as `transformers` lays it out.

    A factorised embedding, which `transformers` does not know, is there in its two parts.
    """
    settings, architecture = shape.settings, _architecture(shape)
    model = LanguageModel(settings)
    model.init_weights(torch.Generator().manual_seed(seed))
    ours = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    theirs = to_theirs(tensor_names(settings, architecture), ours)
    if settings.embedding_rank:
        theirs[_THEIR_PROJECTION] = ours[_PROJECTION]
    tensors = {name: tensor.contiguous() for name, tensor in theirs.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = config_for(settings, architecture)
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def peak(device: str, precision: str) -> Peak:
    """Return the FLOPs a second of this machine's matrix products, and how that is known."""
    return matmul_peak(device, DTYPES[precision])


def _architecture(shape: Shape) -> type[Architecture]:
    return Gemma3 if shape.family == "gemma3" else Llama
