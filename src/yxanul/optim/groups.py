"""Parameters by role, and the learning rate of every group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import torch

from yxanul.base.errors import near_miss
from yxanul.optim.config import OptimSettings, Role


def parameter_groups(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
    roles: Mapping[str, Role],
    settings: OptimSettings,
) -> list[dict[str, Any]]:
    """Return torch parameter groups, one a role; a 1-D parameter is a gain whatever its label.

    Each group has `names` beside `params`, and `base_rate`, from which `set_rate` starts.
    Frozen parameters are left out; a parameter without a role, or an unknown role, is an error.
    """
    by_role: dict[Role, list[tuple[str, torch.nn.Parameter]]] = {r: [] for r in get_args(Role)}
    for name, parameter in named_parameters:
        role = _role_of(name, roles)
        if parameter.requires_grad:
            by_role["gain" if parameter.ndim < 2 else role].append((name, parameter))
    return [
        {
            "params": [parameter for _, parameter in members],
            "names": [name for name, _ in members],
            "role": role,
            "base_rate": settings.peak_rate * settings.role_scales.get(role, 1.0),
            "lr": settings.peak_rate * settings.role_scales.get(role, 1.0),
            "weight_decay": 0.0 if role == "gain" else settings.weight_decay,
        }
        for role, members in by_role.items()
        if members
    ]


def set_rate(optimizer: torch.optim.Optimizer, fraction: float) -> None:
    """Set every group's rate to `fraction` of the group's own peak.

    The fraction is all factors at once: height of the schedule times the phase's scale.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["base_rate"] * fraction


def _role_of(name: str, roles: Mapping[str, Role]) -> Role:
    if name not in roles:
        hint = near_miss(name, roles)
        raise ValueError(f"the parameter {name} has no role" + (f"; {hint}" if hint else ""))
    if roles[name] not in get_args(Role):
        wanted = ", ".join(get_args(Role))
        raise ValueError(f"{name} has the unknown role '{roles[name]}'; wanted one of {wanted}")
    return roles[name]
