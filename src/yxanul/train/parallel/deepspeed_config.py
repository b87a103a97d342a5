"""A DeepSpeed configuration as people have it for other trainers, put under the recipe.

What the recipe decides is taken from the recipe; all else reaches DeepSpeed as it stands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError

DEFAULT = {"zero_optimization": {"stage": 1}}
"""Where the recipe names no file."""
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
"""Keys that speak of what the recipe decides."""
OTHER_WAYS = ("tensor_parallel", "expert_parallel", "sequence_parallel_size", "hybrid_engine")
"""Keys that would divide the model or its rows in other ways than ZeRO-1 and ZeRO-2 do."""
BUCKET_NUMBERS = 50_000_000
"""Gradients that travel together, where the file does not say how many: 200 MB in fp32."""


@dataclass(frozen=True)
class Merged:
    """What DeepSpeed is given."""

    stage: int
    """Of ZeRO: 0 divides nothing, 1 the optimizer's state, 2 the gradients, too."""
    config: dict[str, Any]
    overridden: tuple[str, ...]
    """Keys of the file that said something else than the recipe does."""


def read_config(path: str | None) -> dict[str, Any]:
    """Return what a DeepSpeed configuration file holds; ZeRO-1 where there is none."""
    if path is None:
        return DEFAULT
    what = f"the DeepSpeed configuration {path} (train.deepspeed)"
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise YxanulError(f"{what} cannot be read", got=error.strerror) from error
    except ValueError as error:  # also text that is not UTF-8
        raise YxanulError(f"{what} is not JSON", got=str(error)) from error
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise YxanulError(f"{what} is not what DeepSpeed reads", got=f"a {kind}", expected="keys")
    return found


def merged(file: Mapping[str, Any], precision: str, num_processes: int, num_weights: int) -> Merged:
    """Return what DeepSpeed is given for a file; it speaks of `num_weights` weights in all.

    "auto" means, here as elsewhere, that the trainer knows: the recipe, or DeepSpeed's default.
    """
    said = _without_auto(file)
    _refuse_other_ways(said)
    ours = _ours(precision, num_processes)
    zero, zero_overridden = _zero_block(said.pop("zero_optimization", {}), num_weights)
    types, types_overridden = _data_types(said.pop("data_types", {}))
    overridden = [key for key in DROPPED if _counts(said.pop(key, None))]
    overridden += [key for key, value in ours.items() if not _agrees(said.get(key), value)]
    config = {"communication_data_type": "fp32", **said, **ours}
    config |= {"zero_optimization": zero, "data_types": types}
    stage = zero["stage"]
    return Merged(stage, config, tuple(sorted(overridden + zero_overridden + types_overridden)))


def _ours(precision: str, num_processes: int) -> dict[str, Any]:
    """Return the keys whose values are the recipe's, or follow from how an engine works here.

    DeepSpeed counts no rows and no micro-batches: those differ between the phases of a recipe.
    """
    return {
        "train_batch_size": num_processes,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,  # absent, it would be 1
        "bf16": {"enabled": precision == "bf16"},
        "fp16": {"enabled": False},
        "gradient_allreduce_op": "sum",  # a loss is divided by the targets of all processes
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }


def _zero_block(block: Any, num_weights: int) -> tuple[dict[str, Any], list[str]]:
    if not isinstance(block, dict):
        raise YxanulError("zero_optimization of the DeepSpeed configuration", got=repr(block))
    stage = block.get("stage", 0)
    if stage not in (0, 1, 2):
        raise YxanulError(
            "the DeepSpeed configuration asks for a stage of ZeRO that is not supported",
            got=repr(stage),
            expected="stage 1 or 2",
            hint="dividing the weights too brings next to nothing at these sizes;"
            " train.strategy=fsdp does it",
        )
    ours = {"stage": stage, "round_robin_gradients": False, "parameter_alignment": False}
    overridden = [key for key, value in ours.items() if not _agrees(block.get(key), value)]
    bucket = {"reduce_bucket_size": min(num_weights, BUCKET_NUMBERS)}
    return {**bucket, **block, **ours}, [f"zero_optimization.{key}" for key in overridden]


def _data_types(block: Any) -> tuple[dict[str, Any], list[str]]:
    """Gradients of micro-batches are summed in fp32; the precision is the recipe's."""
    if not isinstance(block, dict):
        raise YxanulError("data_types of the DeepSpeed configuration", got=repr(block))
    block = dict(block)
    asked = block.pop("param_dtype", None), block.get("grad_accum_dtype")
    overridden = asked[0] is not None or asked[1] not in (None, "fp32")
    return {**block, "grad_accum_dtype": "fp32"}, ["data_types"] if overridden else []


def _refuse_other_ways(said: Mapping[str, Any]) -> None:
    found = [key for key in OTHER_WAYS if _counts(said.get(key)) and said[key] != 1]
    if found:
        raise YxanulError(
            "the DeepSpeed configuration divides a model in a way that is not supported",
            got=", ".join(found),
            expected="ZeRO-1 or ZeRO-2 alone",
        )


def _without_auto(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block without what it leaves to the trainer. A stage is left to it, too."""
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
    """Say whether what stands under a key that is not used would have had an effect."""
    if isinstance(value, Mapping):
        return bool(value) and value.get("enabled", True) is not False
    return value is not None and value is not False


def _agrees(said: Any, ours: Any) -> bool:
    """Say whether a file says nothing else than what is used."""
    if said is None:
        return True
    if isinstance(said, Mapping) and isinstance(ours, Mapping):
        if said.get("enabled", ours["enabled"]) != ours["enabled"]:
            return False
        return not ours["enabled"] or set(said) <= {"enabled"}
    return said == ours
