"""Merging of a DeepSpeed configuration written for other trainers with the recipe.

Keys the recipe decides are overridden; all others are passed to DeepSpeed unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError

DEFAULT = {"zero_optimization": {"stage": 1}}
"""Configuration if the recipe names no file."""
DROPPED = (
    "optimizer",
    "scheduler",
    "amp",
    "torch_autocast",
    "elasticity",
    "curriculum_learning",
    "data_efficiency",
    "prescale_gradients",
    "gradient_predivide_factor",
    "managed_gradient_accumulation",
)
"""Keys ignored because the recipe decides them."""
OTHER_WAYS = ("tensor_parallel", "expert_parallel", "sequence_parallel_size", "hybrid_engine")
"""Keys for unsupported kinds of parallelism (only ZeRO-1 and ZeRO-2 are supported)."""
BLOCKS = {
    "zero_optimization": {"round_robin_gradients": False, "parameter_alignment": False},
    "data_types": {"grad_accum_dtype": "fp32", "param_dtype": None},
}
"""Keys set within blocks; gradients are summed in fp32, and the recipe decides the precision."""
BUCKET_NUMBERS = 50_000_000
"""Default reduce bucket size, in elements: 200 MB in fp32."""


@dataclass(frozen=True)
class Merged:
    """The configuration passed to DeepSpeed."""

    stage: int
    """ZeRO stage: 0 shards nothing, 1 the optimizer state, 2 also the gradients."""
    config: dict[str, Any]
    overridden: tuple[str, ...]
    """Keys of the file that the recipe overrides with another value."""


def read_config(path: str | None) -> dict[str, Any]:
    """Return the contents of a DeepSpeed configuration file; ZeRO-1 if `path` is None."""
    if path is None:
        return DEFAULT
    what = f"the DeepSpeed configuration {path} (train.deepspeed)"
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise YxanulError(f"{what} cannot be read", got=error.strerror) from error
    except ValueError as error:  # also text that is not UTF-8
        raise YxanulError(f"{what} is not JSON", got=str(error)) from error
    if not isinstance(config, dict):
        kind = type(config).__name__
        raise YxanulError(f"{what} is invalid", got=f"a {kind}", expected="a JSON object")
    return config


def merged(file: Mapping[str, Any], precision: str, num_processes: int, num_weights: int) -> Merged:
    """Merge a DeepSpeed configuration with the recipe, for a model of `num_weights` weights.

    As usual, "auto" leaves a key to the trainer: to the recipe, or DeepSpeed's default.
    """
    given = _without_auto(file)
    keys = [key for key in OTHER_WAYS if _counts(given.get(key)) and given[key] != 1]
    if keys:
        raise YxanulError(
            "unsupported parallelism in the DeepSpeed configuration",
            got=", ".join(keys),
            expected="only ZeRO-1 or ZeRO-2",
        )
    overridden = [key for key in DROPPED if _counts(given.pop(key, None))]
    blocks = {
        name: _block(given.pop(name, {}), name, ours, overridden) for name, ours in BLOCKS.items()
    }
    stage = blocks["zero_optimization"].setdefault("stage", 0)
    if stage not in (0, 1, 2):
        raise YxanulError(
            "unsupported ZeRO stage in the DeepSpeed configuration",
            got=repr(stage),
            expected="stage 1 or 2",
            hint="use train.strategy=fsdp to shard the weights too (hardly useful at these sizes)",
        )
    blocks["zero_optimization"].setdefault("reduce_bucket_size", min(num_weights, BUCKET_NUMBERS))
    ours = _ours(precision, num_processes)
    overridden += [key for key, value in ours.items() if not _agrees(given.get(key), value)]
    config = {"communication_data_type": "fp32", **given, **ours, **blocks}
    return Merged(stage, config, tuple(sorted(overridden)))


def _ours(precision: str, num_processes: int) -> dict[str, Any]:
    """Return the keys set by the recipe or required by the engine.

    Batch sizes are placeholders: rows and micro-batches differ between the phases of a recipe.
    """
    return {
        "train_batch_size": num_processes,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,  # the default is 1
        "bf16": {"enabled": precision == "bf16"},
        "fp16": {"enabled": False},
        "gradient_allreduce_op": "sum",  # the loss is divided by the targets of all ranks
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def _block(
    block: object, name: str, ours: Mapping[str, Any], overridden: list[str]
) -> dict[str, Any]:
    """Return a block of the file with our values; add the keys they override to `overridden`."""
    if not isinstance(block, dict):
        raise YxanulError(
            f"invalid {name} in the DeepSpeed configuration",
            got=repr(block),
            expected="a JSON object",
        )
    overridden += [f"{name}.{key}" for key in ours if block.get(key) not in (None, ours[key])]
    return {**block, **ours}


def _without_auto(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block without its "auto" values; an "auto" stage becomes 1."""
    kept = {}
    for key, value in block.items():
        if isinstance(value, Mapping):
            kept[key] = _without_auto(value)
        elif value != "auto":
            kept[key] = value
        elif key == "stage":
            kept[key] = 1
    return kept


def _counts(value: Any) -> bool:
    """Return whether the value of an ignored key would have had an effect."""
    if isinstance(value, Mapping):
        return bool(value) and value.get("enabled", True) is not False
    return value is not None and value is not False


def _agrees(given: Any, ours: Any) -> bool:
    """Return whether a file's value does not contradict the one used."""
    if given is None:
        return True
    if isinstance(given, Mapping) and isinstance(ours, Mapping):
        if given.get("enabled", ours["enabled"]) != ours["enabled"]:
            return False
        return not ours["enabled"] or set(given) <= {"enabled"}
    return given == ours
