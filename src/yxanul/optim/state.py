"""Optimizer state as tensors by parameter name, independent of the parameter order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from yxanul.base.errors import YxanulError


def optimizer_tensors(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the state as tensors named `<state key>.<parameter>`, and plain data.

    Learning rates and weight decays are not included: they come from the recipe and the schedule.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in _named(optimizer):
        for key, value in optimizer.state.get(parameter, {}).items():
            assert isinstance(value, torch.Tensor) and "." not in key, f"{key} of {name}"
            tensors[f"{key}.{name}"] = value
    return tensors, {"optimizer": type(optimizer).__name__}


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], plain: Mapping[str, Any]
) -> None:
    """Load what `optimizer_tensors` returned, for the same parameters, in any order."""
    kind = type(optimizer).__name__
    if plain["optimizer"] != kind:
        raise YxanulError(
            "the checkpoint was written by another optimizer",
            got=plain["optimizer"],
            expected=kind,
            hint="restore optim.name, or start a new run",
        )
    state = optimizer.state_dict()
    number_of = {name: number for number, (name, _) in enumerate(_named(optimizer))}
    for full_name, value in tensors.items():
        key, _, name = full_name.partition(".")
        state["state"].setdefault(number_of[name], {})[key] = value.clone()
    optimizer.load_state_dict(state)


def _named(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    for group in optimizer.param_groups:
        yield from zip(group["names"], group["params"], strict=True)
