"""Optimizer state as tensors by parameter name, independent of the parameter order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from yxanul.base.errors import YxanulError

SCHEMA_VERSION = 1


def optimizer_tensors(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the state as tensors named `<state key>.<parameter>`, and plain data.

    Learning rates and weight decays are not included: they come from the recipe and the schedule.
    """
    tensors: dict[str, torch.Tensor] = {}
    names: list[str] = []
    for name, parameter in _named(optimizer):
        names.append(name)
        for key, value in optimizer.state.get(parameter, {}).items():
            assert isinstance(value, torch.Tensor) and "." not in key, f"{key} of {name}"
            tensors[f"{key}.{name}"] = value
    plain = {
        "schema_version": SCHEMA_VERSION,
        "optimizer": type(optimizer).__name__,
        "parameters": sorted(names),
    }
    return tensors, plain


def load_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], plain: Mapping[str, Any]
) -> None:
    """Load what `optimizer_tensors` returned; optimizer, names and shapes must match."""
    _check(optimizer, plain)
    by_name: dict[str, dict[str, torch.Tensor]] = {name: {} for name in plain["parameters"]}
    for full_name, value in tensors.items():
        key, _, name = full_name.partition(".")
        if name not in by_name:
            raise YxanulError(f"the optimizer state has an unknown parameter: {full_name}")
        by_name[name][key] = value
    state = optimizer.state_dict()
    for index, (name, parameter) in enumerate(_named(optimizer)):
        _check_shapes(name, parameter, by_name[name])
        state["state"][index] = {key: value.clone() for key, value in by_name[name].items()}
    optimizer.load_state_dict(state)


def _named(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    for group in optimizer.param_groups:
        yield from zip(group["names"], group["params"], strict=True)


def _check(optimizer: torch.optim.Optimizer, plain: Mapping[str, Any]) -> None:
    if plain["schema_version"] > SCHEMA_VERSION:
        raise YxanulError(
            "the optimizer state was written by a newer version of yxanul",
            got=f"schema version {plain['schema_version']}",
            expected=f"at most {SCHEMA_VERSION}",
        )
    kind = type(optimizer).__name__
    if plain["optimizer"] != kind:
        raise YxanulError(
            "the checkpoint was written by another optimizer",
            got=plain["optimizer"],
            expected=kind,
            hint="restore optim.name, or start a new run",
        )
    ours, theirs = {name for name, _ in _named(optimizer)}, set(plain["parameters"])
    if ours != theirs:
        odd = sorted(ours ^ theirs)
        raise YxanulError(
            "the optimizer state belongs to another model",
            got=f"{len(odd)} parameters that only one of them has, such as {odd[0]}",
        )


def _check_shapes(name: str, parameter: torch.Tensor, state: Mapping[str, torch.Tensor]) -> None:
    for key, value in state.items():
        if value.ndim and not _fits(value.shape, parameter.shape):
            raise YxanulError(
                f"the optimizer state's {key} of {name} has the wrong shape",
                got=f"shape {tuple(value.shape)}",
                expected=f"{tuple(parameter.shape)}",
            )


def _fits(shape: torch.Size, full: torch.Size) -> bool:
    """Return whether `shape` is `full`, or has length 1 along some axes (factored state)."""
    return len(shape) == len(full) and all(a in (b, 1) for a, b in zip(shape, full, strict=True))
