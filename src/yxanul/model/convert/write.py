"""Export of a model as a folder in the `transformers` layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_folder, write_json
from yxanul.model.config import ModelSettings
from yxanul.model.convert.architectures import ARCHITECTURES, Architecture
from yxanul.model.convert.names import tensor_names, to_theirs
from yxanul.model.convert.read import CONFIG
from yxanul.model.convert.weights import WEIGHTS
from yxanul.model.language_model import LanguageModel

_TRAINING_ONLY = {"preset", "init_std", "head_init_std", "z_loss", "document_masking"}
"""Settings that do not affect a trained model's output on one document."""


def write_pretrained(
    model: LanguageModel, folder: Path, dtype: torch.dtype = torch.float32
) -> None:
    """Write config.json and model.safetensors atomically into a new or empty folder.

    The architecture is chosen by the settings. A factorised embedding is multiplied out.
    Raises YxanulError if no known architecture can express the model.
    """
    settings = unfactorised(model.settings)
    architecture = architecture_for(settings)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise YxanulError(f"{folder} already exists", hint="choose a new or empty folder")
    theirs = to_theirs(tensor_names(settings, architecture), _unfactorised_tensors(model))
    tensors = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in theirs.items()}
    config = config_for(settings, architecture)
    config["dtype"] = str(dtype).removeprefix("torch.")
    try:
        with atomic_folder(folder) as inside:
            write_json(inside / CONFIG, config)
            save_file(tensors, inside / WEIGHTS, metadata={"format": "pt"})
            # safetensors creates files readable only by their owner
            (inside / WEIGHTS).chmod((inside / CONFIG).stat().st_mode)
    except OSError as error:
        raise YxanulError(f"{folder} could not be written", got=error) from error


def config_for(settings: ModelSettings, architecture: type[Architecture]) -> dict[str, Any]:
    """Return the config.json; special tokens are null, as the model does not know them."""
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    return {**architecture.write(settings), "use_cache": True, **ids}


def architecture_for(settings: ModelSettings) -> type[Architecture]:
    """Return the architecture that expresses all of the settings; raise if there is none."""
    misfits = {name: _misfits(settings, row) for name, row in ARCHITECTURES.items()}
    best = min(misfits, key=lambda name: len(misfits[name]))
    if misfits[best]:
        ours = [f"{field} {mine!r}" for field, (mine, _) in misfits[best].items()]
        supported = [f"{field} {theirs!r}" for field, (_, theirs) in misfits[best].items()]
        raise YxanulError(
            "no supported transformers architecture can express this model",
            got=", ".join(ours),
            expected=f"{', '.join(supported)} ({best})",
        )
    return ARCHITECTURES[best]


def _misfits(
    settings: ModelSettings, architecture: type[Architecture]
) -> dict[str, tuple[Any, Any]]:
    """Return the settings that change in a round trip through an architecture's config keys."""
    mine = _meaning(settings)
    theirs = _meaning(architecture.read(architecture.write(settings), Path(CONFIG)))
    lost = {
        name: (mine[name], theirs[name]) for name in mine if not _same(mine[name], theirs[name])
    }
    if architecture.heads_divide_width and settings.width % settings.num_heads:
        lost["width"] = (settings.width, f"a multiple of num_heads {settings.num_heads}")
    return lost


def _meaning(settings: ModelSettings) -> dict[str, Any]:
    """Return the settings that affect the model's output, defaults filled in."""
    fields = settings.model_dump(exclude=_TRAINING_ONLY)
    has_local = "L" in settings.layer_kinds
    local = settings.rope_theta_local if has_local else None
    fields["rope_theta_local"] = local or settings.rope_theta
    fields["query_scale"] = settings.query_scale or settings.head_width**-0.5
    fields["layer_pattern"] = settings.layer_kinds
    return fields


def _same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, float) and isinstance(theirs, float):
        return math.isclose(mine, theirs, rel_tol=1e-9)
    return mine == theirs


def unfactorised(settings: ModelSettings) -> ModelSettings:
    """Return the settings of the same model with a factorised embedding multiplied out."""
    if settings.embedding_rank is None:
        return settings
    head = "tied" if settings.head == "folded" else settings.head
    return settings.model_copy(update={"embedding_rank": None, "head": head})


@torch.no_grad()
def _unfactorised_tensors(model: LanguageModel) -> Mapping[str, Tensor]:
    """Return the model's tensors, with a factorised embedding E P multiplied out."""
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    projection = tensors.pop("embedding.projection.weight", None)
    if projection is not None:
        tensors["embedding.tokens"] = tensors["embedding.tokens"] @ projection.T
    return tensors
