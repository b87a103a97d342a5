"""Loading a model and its tokenizer from a run folder or a `transformers` folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from yxanul.base.cache import is_address
from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.checkpoint.keep import read_best
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps, step_of
from yxanul.checkpoint.read import (
    CheckpointDamaged,
    newest_intact,
    read_checkpoint,
    tensor_files,
)
from yxanul.model.config import ModelSettings
from yxanul.model.convert import is_pretrained, read_pretrained, read_settings
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.pretrained import load_pretrained_tokenizer
from yxanul.tokenizer.tokenizer import Tokenizer

Device: TypeAlias = torch.device | str | None
PRETRAINED_SEQ_LEN = 2048
"""Sequence length assumed for pretrained models, whose training length is unknown."""


@dataclass(frozen=True)
class Bundle:
    """A trained model with its tokenizer and metadata."""

    model: LanguageModel
    """On the CPU or the GPU, in fp32, in evaluation mode."""
    tokenizer: Tokenizer
    step: int | None
    """Number of optimizer steps; None if unknown."""
    seq_len: int
    """Longest training sequence length; PRETRAINED_SEQ_LEN at most if unknown."""
    data: Path | None
    """Folder of the run's shards; None for a pretrained model."""
    data_address: str | None = None
    """Remote address of the shards, if `data` is a local cache of it."""


def open_bundle(
    path: Path,
    checkpoint: str = "best",
    averaged: bool = True,
    device: Device = None,
) -> Bundle:
    """Load a run's checkpoint: `best` (the newest if there is no best yet), `last`, or a step.

    The model has the EMA weights if the run kept them, unless `averaged` is false. Without a
    `device` it is loaded on the GPU, if available.

    `path` may also be a `transformers` folder, for which `best` and `last` are the same.
    """
    if is_pretrained(path):
        return _open_pretrained(path, checkpoint, device)
    run = RunFolder(path)
    checkpoint_folder = find_checkpoint(run, checkpoint)
    try:
        weights = "ema" if averaged and "ema" in tensor_files(checkpoint_folder) else "model"
        tensors, state = read_checkpoint(checkpoint_folder, only=(weights,))
    except CheckpointDamaged as error:
        error.hint = _damage_hint(run)
        raise
    settings = ModelSettings.model_validate(state["model"])
    tokenizer = Tokenizer.load(run.tokenizer, num_ids=settings.known_vocab_size)
    if state["tokenizer"] != tokenizer.digest:
        raise YxanulError(
            f"{run.tokenizer} is not the tokenizer the checkpoint was trained with",
            got=tokenizer.digest[:12],
            expected=state["tokenizer"][:12],
            hint="restore the tokenizer.json with which this run was trained",
        )
    data_folder = state["data_folder"]
    return Bundle(
        _ready(settings, tensors[weights], device),
        tokenizer,
        state["progress"]["step"],
        state["seq_len"],
        run.data(data_folder),
        data_folder if data_folder and is_address(data_folder) else None,
    )


def _damage_hint(run: RunFolder) -> str:
    """Return the hint for a damaged checkpoint."""
    intact, _ = newest_intact(run.checkpoints)
    if intact is None:
        return (
            "no other checkpoint is intact: copy the run again from its origin, or train it again"
        )
    step = step_of(intact.name)
    return f"the checkpoint of step {step} is intact: use --checkpoint {step}"


def read_shape(path: Path) -> ModelSettings:
    """Return the settings of the model that `open_bundle` loads, without reading its weights."""
    if is_pretrained(path):
        return read_settings(path)
    _, state = read_checkpoint(find_checkpoint(RunFolder(path), "best"), only=())
    return ModelSettings.model_validate(state["model"])


def read_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer that `open_bundle` loads, without reading any weights."""
    num_ids = read_shape(path).known_vocab_size
    if is_pretrained(path):
        return load_pretrained_tokenizer(path, num_ids)
    return Tokenizer.load(RunFolder(path).tokenizer, num_ids=num_ids)


def _open_pretrained(folder: Path, checkpoint: str, device: Device) -> Bundle:
    if checkpoint not in ("best", "last"):
        raise YxanulError(
            f"{folder} has no checkpoint '{checkpoint}'",
            hint="a transformers folder has one set of weights; use best or last",
        )
    tokenizer = read_tokenizer(folder)
    settings, tensors = read_pretrained(folder)
    seq_len = min(settings.max_seq_len, PRETRAINED_SEQ_LEN)
    return Bundle(_ready(settings, tensors, device), tokenizer, None, seq_len, None)


def _ready(
    settings: ModelSettings, tensors: Mapping[str, torch.Tensor], device: Device
) -> LanguageModel:
    model = LanguageModel(settings)
    model.load_state_dict(tensors)
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()


def _no_checkpoint_hint(run: RunFolder) -> str:
    """Return the hint for a folder without checkpoints."""
    if run.recipe.is_file():
        return "it is not trained yet: run `yxanul train`"
    step = step_of(run.path.name)
    if step is not None and run.path.parent.name == "checkpoints":
        return f"give the run folder: {run.path.parent.parent} --checkpoint {step}"
    return "give a run folder, or a transformers folder with a config.json"


def find_checkpoint(run: RunFolder, which: str) -> Path:
    """Return the folder of the checkpoint `best`, `last` or of a step."""
    run.check_exists()
    steps = checkpoint_steps(run.checkpoints)
    if not steps:
        raise YxanulError(f"{run.path} has no checkpoint", hint=_no_checkpoint_hint(run))
    if which == "best":
        best = read_best(run.path)
        if best is not None and best.step in steps:
            return checkpoint_path(run.checkpoints, best.step)
    if which in ("best", "last"):
        return checkpoint_path(run.checkpoints, steps[-1])
    if which.isdecimal() and int(which) in steps:
        return checkpoint_path(run.checkpoints, int(which))
    choices = ", ".join(map(str, steps))
    raise YxanulError(
        f"{run.path} has no checkpoint '{which}'", expected=f"best, last or one of {choices}"
    )
