"""A run folder, or a folder of the `transformers` layout, becomes a model and its tokenizer."""

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
"""The longest row assumed for a model of which it is not known how it was trained."""


@dataclass(frozen=True)
class Bundle:
    """A trained model with what belongs to it."""

    model: LanguageModel
    """On the CPU or the GPU, in fp32, in evaluation mode."""
    tokenizer: Tokenizer
    step: int | None
    """The updates it has had; None if that is not known."""
    seq_len: int
    """The longest row it was trained with, or a usual length if that is not known."""
    data: Path | None
    """Where the shards of its run lie; None for a model that is no run of ours."""
    data_address: str | None = None
    """What they are copies of, where they are kept at an address."""


def open_bundle(
    path: Path,
    checkpoint: str = "best",
    averaged: bool = True,
    device: Device = None,
) -> Bundle:
    """Load a run's checkpoint: `best` (the newest where none is best yet), `last`, or a step.

    Where the run kept a mean of its weights the model has that, unless `averaged` is false.

    Without a `device` it is put on the GPU, if there is one.

    A folder of the `transformers` layout is taken too: its weights are `best` and `last` in one.
    """
    if is_pretrained(path):
        return _open_pretrained(path, checkpoint, device)
    run = RunFolder(path)
    found = find_checkpoint(run, checkpoint)
    try:
        weights = "ema" if averaged and "ema" in tensor_files(found) else "model"
        tensors, state = read_checkpoint(found, only=(weights,))
    except CheckpointDamaged as error:
        error.hint = _way_out(run)
        raise
    settings = ModelSettings.model_validate(state["model"])
    tokenizer = Tokenizer.load(run.tokenizer, num_ids=settings.num_tokens)
    if state["tokenizer"] != tokenizer.digest:
        raise YxanulError(
            f"{run.tokenizer} is not the tokenizer that the checkpoint was trained with",
            got=tokenizer.digest[:12],
            expected=state["tokenizer"][:12],
        )
    kept = state["data_folder"]
    return Bundle(
        _ready(settings, tensors[weights], device),
        tokenizer,
        state["progress"]["step"],
        state["seq_len"],
        run.data(kept),
        kept if kept and is_address(kept) else None,
    )


def _way_out(run: RunFolder) -> str:
    """Return what to do when a checkpoint is damaged."""
    intact, _ = newest_intact(run.checkpoints)
    if intact is None:
        return "no other one is intact: copy the run again from where it came, or train it again"
    step = step_of(intact.name)
    return f"the checkpoint of step {step} is intact: give --checkpoint {step}"


def read_shape(path: Path) -> ModelSettings:
    """Return the settings of the model that `open_bundle` loads, without reading its weights."""
    if is_pretrained(path):
        return read_settings(path)
    _, state = read_checkpoint(find_checkpoint(RunFolder(path), "best"), only=())
    return ModelSettings.model_validate(state["model"])


def read_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer that `open_bundle` loads, without reading any weights."""
    num_ids = read_shape(path).num_tokens
    if is_pretrained(path):
        return load_pretrained_tokenizer(path, num_ids)
    return Tokenizer.load(RunFolder(path).tokenizer, num_ids=num_ids)


def _open_pretrained(folder: Path, checkpoint: str, device: Device) -> Bundle:
    if checkpoint not in ("best", "last"):
        raise YxanulError(
            f"{folder} has no checkpoint '{checkpoint}'",
            hint="it is a transformers folder, which holds one set of weights",
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


def _way_to_a_run(run: RunFolder) -> str:
    """Say what to give or to do for a folder that holds no checkpoint."""
    if run.recipe.is_file():
        return "it is not trained yet: `yxanul train` does that"
    step = step_of(run.path.name)
    if step is not None and run.path.parent.name == "checkpoints":
        return f"give the run: {run.path.parent.parent} --checkpoint {step}"
    return "give a folder that `yxanul run` made, or one of transformers with a config.json"


def find_checkpoint(run: RunFolder, which: str) -> Path:
    """Return the folder of a checkpoint named `best`, `last` or by its step."""
    if not run.path.is_dir():
        usual = Path("runs") / run.path.stem
        raise YxanulError(
            f"there is no folder {run.path}",
            got="a file" if run.path.is_file() else None,
            hint=f"did you mean {usual}?" if usual.is_dir() else None,
        )
    steps = checkpoint_steps(run.checkpoints)
    if not steps:
        raise YxanulError(f"{run.path} has no checkpoint", hint=_way_to_a_run(run))
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
