"""A run folder becomes a model and its tokenizer, ready to use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.checkpoint.keep import read_best
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import read_checkpoint
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Bundle:
    """A trained model with what belongs to it."""

    model: LanguageModel
    """On the CPU or the GPU, in fp32, in evaluation mode."""
    tokenizer: Tokenizer
    step: int
    """The updates it has had."""
    seq_len: int
    """The longest row it was trained with."""
    data: Path
    """Where the shards of its run lie."""


def open_bundle(path: Path, checkpoint: str = "best") -> Bundle:
    """Load a run's checkpoint: `best` (the newest where none is best yet), `last`, or a step."""
    run = RunFolder(path)
    tensors, state = read_checkpoint(find_checkpoint(run, checkpoint), only=("model",))
    tokenizer = Tokenizer.load(run.tokenizer)
    if state["tokenizer"] != tokenizer.digest:
        raise YxanulError(
            f"{run.tokenizer} is not the tokenizer that the checkpoint was trained with",
            found=tokenizer.digest[:12],
            wanted=state["tokenizer"][:12],
        )
    model = LanguageModel(ModelSettings.model_validate(state["model"]))
    model.load_state_dict(tensors["model"])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Bundle(
        model.to(device).eval(),
        tokenizer,
        state["progress"]["step"],
        state["seq_len"],
        run.data(state["data_folder"]),
    )


def find_checkpoint(run: RunFolder, which: str) -> Path:
    """Return the folder of a checkpoint named `best`, `last` or by its step."""
    steps = checkpoint_steps(run.checkpoints)
    if not steps:
        hint = None if run.recipe.is_file() else "a run folder is what `yxanul run` makes"
        raise YxanulError(f"{run.path} has no checkpoint", hint=hint)
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
        f"{run.path} has no checkpoint '{which}'", wanted=f"best, last or one of {choices}"
    )
