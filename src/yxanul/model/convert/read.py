"""Import of a model folder in the `transformers` layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json
from yxanul.model.config import ModelSettings
from yxanul.model.convert.architectures import architecture_of
from yxanul.model.convert.names import tensor_names, to_ours
from yxanul.model.convert.weights import WeightFiles

CONFIG = "config.json"
_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"


def is_pretrained(folder: Path) -> bool:
    """Return whether a folder has the `transformers` layout; its model may still be unsupported."""
    return (folder / CONFIG).is_file()


def read_settings(folder: Path) -> ModelSettings:
    """Convert a folder's config.json to settings.

    Raises YxanulError for an unknown architecture or a key whose value we cannot express.
    """
    config = _config(folder)
    return architecture_of(config, folder / CONFIG).read(config, folder / CONFIG)


def read_pretrained(folder: Path) -> tuple[ModelSettings, dict[str, Tensor]]:
    """Return a folder's settings and its tensors in fp32 as a state dict of LanguageModel.

    Raises YxanulError if we cannot express the config, or the weights do not match it.
    """
    architecture = architecture_of(_config(folder), folder / CONFIG)
    settings, weights = read_settings(folder), WeightFiles(folder)
    if settings.head == "tied" and _HEAD in weights:
        _drop_second_table(weights)
    names = tensor_names(settings, architecture)
    expected = {name: shape for shapes in names.values() for name, shape in shapes.items()}
    weights.check(expected, architecture.name)
    return settings, to_ours(names, weights.read, settings)


def _config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise YxanulError(f"{folder / CONFIG} is not a JSON object")
    return config


def _drop_second_table(weights: WeightFiles) -> None:
    """Drop a stored lm_head that repeats the tied embedding; raise if it differs."""
    if _EMBEDDING in weights and not torch.equal(weights.read(_EMBEDDING), weights.read(_HEAD)):
        raise YxanulError(
            f"{weights.folder}: tie_word_embeddings is true but {_HEAD} differs from the embedding",
            hint="to use the head, set tie_word_embeddings to false in config.json",
        )
    weights.forget(_HEAD)
