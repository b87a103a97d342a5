"""yxanul: its model, its precision twin, its generation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from peers import DecodeJob, StepJob, Trainee
from peers.tensors import load_tensors
from yxanul.base.ui import SilentUi
from yxanul.generate.config import SampleSettings
from yxanul.generate.ids import generate_ids
from yxanul.model.config import ModelSettings
from yxanul.model.convert import read_pretrained
from yxanul.model.convert.architectures import LLAMA
from yxanul.model.convert.names import tensor_names, to_ours
from yxanul.model.language_model import LanguageModel
from yxanul.train.config import TrainSettings
from yxanul.train.engine import make_mixed_precision


def trainee(job: StepJob, compiled: bool = False) -> Trainee:
    """Return our model as the trainer trains it."""
    mixed_precision = make_mixed_precision(
        build_model(job), TrainSettings(compile=compiled), job.precision, SilentUi()
    )

    def loss(ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return mixed_precision.model.loss(ids_BT, targets_BT).total / targets_BT.numel()

    copies = tuple(mixed_precision.model.parameters())
    return Trainee(
        mixed_precision.master_model, loss, mixed_precision.collect, mixed_precision.refresh, copies
    )


def decoder(job: DecodeJob) -> Callable[[list[list[int]], int], list[list[int]]]:
    """Return what continues prompts greedily."""
    model = build_model(job).eval()
    if job.precision == "bf16":
        model = model.to(torch.bfloat16)
    return lambda prompts, num_new: generate(model, prompts, num_new)


def generate(model: LanguageModel, prompts: list[list[int]], num_new: int) -> list[list[int]]:
    """Continue the prompts greedily, as `yxanul generate` does at temperature 0."""
    return generate_ids(model, prompts, SampleSettings(temperature=0, max_tokens=num_new))


def build_model(job: StepJob) -> LanguageModel:
    """Return our model with the common weights."""
    settings, tensors = _factorised(job) if job.shape.kind == "factorised" else _read(job)
    model = LanguageModel(settings)
    model.load_state_dict(tensors)
    return model.to(job.device)


def _read(job: StepJob) -> tuple[ModelSettings, dict[str, Tensor]]:
    """Read the folder as anybody's; it has to say what the shape says."""
    settings, tensors = read_pretrained(job.weights)
    wanted = job.shape.settings.model_copy(update={"preset": None})
    found = settings.model_copy(update={"preset": None})
    assert found == wanted, f"the folder says {found}, the shape {wanted}"
    return settings, tensors


def _factorised(job: StepJob) -> tuple[ModelSettings, dict[str, Tensor]]:
    """Read a folder that only the contenders with a factorised embedding understand."""
    settings, given = job.shape.settings, load_tensors(job.weights)
    tensors = to_ours(tensor_names(settings, LLAMA), given.__getitem__, settings)
    tensors["embedding.projection.weight"] = given["model.embed_projection.weight"]
    return settings, tensors
