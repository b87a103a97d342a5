"""Training that starts from weights which exist: those of a run, or of a `transformers` folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import Ui
from yxanul.bundle import open_bundle, read_tokenizer
from yxanul.data.sample import training_texts
from yxanul.model.config import ModelSettings, free_beside
from yxanul.model.language_model import LanguageModel
from yxanul.recipe import Recipe
from yxanul.stages.ledger import Ledger
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.train.parallel.world import World

_LEAVE_OUT = "leave the section tokenizer out (tokenizer=null)"
_AGAIN = "run `yxanul prepare` (or `run`) with the recipe again"


def load_initial(
    model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer, ledger: Ledger, world: World
) -> str:
    """Give a model the weights that its recipe starts from; return what they are.

    The ledger keeps their digest. What it says of stages that began from others is taken back.
    """
    folder = _folder(recipe)
    source = open_bundle(folder, device="cpu")
    if source.tokenizer.digest != tokenizer.digest:
        raise _other_tokenizer(folder, "the run's", tokenizer, source.tokenizer, _AGAIN)
    _check_shape(model.settings, source.model.settings, folder)
    tensors = source.model.state_dict()
    digest = digest_of(tensors)
    if world.any(world.from_first(digest) != digest):
        raise YxanulError(f"{folder} changed while it was read", hint="run the same command again")
    model.load_state_dict(tensors)
    if ledger.decisions.get("init_from", {}).get("digest", digest) != digest:
        ledger.entries.clear()
    ledger.decisions["init_from"] = {"path": str(folder), "step": source.step, "digest": digest}
    ledger.write()
    return f"{folder}" if source.step is None else f"{folder}, step {source.step}"


def take_tokenizer(run: RunFolder, recipe: Recipe, ui: Ui) -> None:
    """Give a run that has not begun the tokenizer of the weights that its recipe starts from."""
    folder = _folder(recipe)
    theirs = read_tokenizer(folder)
    if recipe.tokenizer is not None:
        own = build_tokenizer(recipe.tokenizer, lambda: training_texts(recipe.data), ui)
        if own.digest != theirs.digest:
            whose = f"the recipe's (kind {recipe.tokenizer.kind})"
            raise _other_tokenizer(folder, whose, own, theirs, _LEAVE_OUT)
    if not run.tokenizer.exists() or Tokenizer.load(run.tokenizer).digest != theirs.digest:
        theirs.save(run.tokenizer)
        ui.say(f"tokenizer: that of {folder}, {theirs.vocab_size:,} tokens")


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of fp32 tensors with their names, whatever files they lie in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy())  # pyright: ignore[reportArgumentType]
    return digest.hexdigest()


def _check_shape(mine: ModelSettings, theirs: ModelSettings, folder: Path) -> None:
    kept = ModelSettings.model_fields.keys() - free_beside(theirs) - {"preset", "init_from"}
    other = [name for name in sorted(kept) if getattr(mine, name) != getattr(theirs, name)]
    if other:
        raise YxanulError(
            f"the weights in {folder} are not of the shape that the recipe has",
            found=", ".join(f"{name} {getattr(theirs, name)}" for name in other),
            wanted=", ".join(f"{name} {getattr(mine, name)}" for name in other),
            hint=_AGAIN,
        )


def _folder(recipe: Recipe) -> Path:
    assert recipe.model.init_from is not None
    return Path(recipe.model.init_from).expanduser()


def _other_tokenizer(
    folder: Path, whose: str, found: Tokenizer, wanted: Tokenizer, hint: str
) -> YxanulError:
    return YxanulError(
        f"tokenizer: {whose} is not that of the weights in {folder}",
        found=f"{found.vocab_size:,} tokens ({found.digest[:12]})",
        wanted=f"{wanted.vocab_size:,} tokens ({wanted.digest[:12]})",
        hint=hint,
    )
