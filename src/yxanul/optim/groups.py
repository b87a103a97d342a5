"""Optimizer factory: parameter groups by role, and their learning rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, get_args

import torch

from yxanul.optim.config import OptimSettings, Role


def build_optimizer(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
    roles: Mapping[str, Role],
    settings: OptimSettings,
) -> torch.optim.Optimizer:
    """Return the optimizer of `settings` over parameters grouped by `roles`."""
    groups = parameter_groups(named_parameters, roles, settings)
    return import_module(f"yxanul.optim.{settings.name}").build(groups, settings)


def parameter_groups(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
    roles: Mapping[str, Role],
    settings: OptimSettings,
) -> list[dict[str, Any]]:
    """Return torch parameter groups, one per role; 1-D parameters count as norms whatever the role.

    Each group has `names` parallel to `params`, and `base_lr`, its peak, which `set_lr`
    multiplies. Frozen parameters are left out.
    """
    by_role: dict[Role, list[tuple[str, torch.nn.Parameter]]] = {r: [] for r in get_args(Role)}
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            role = "norm" if parameter.ndim < 2 else roles[name]
            by_role[role].append((name, parameter))
    return [
        {
            "params": [parameter for _, parameter in members],
            "names": [name for name, _ in members],
            "role": role,
            "base_lr": settings.peak_lr * settings.lr_scale_by_role.get(role, 1.0),
            "lr": settings.peak_lr * settings.lr_scale_by_role.get(role, 1.0),
            "weight_decay": 0.0 if role == "norm" else settings.weight_decay,
        }
        for role, members in by_role.items()
        if members
    ]


def set_lr(optimizer: torch.optim.Optimizer, multiplier: float) -> dict[str, float]:
    """Set the learning rate of every group to `multiplier` times its `base_lr`; return the rates
    by role."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * multiplier
    return {group["role"]: group["lr"] for group in optimizer.param_groups}
