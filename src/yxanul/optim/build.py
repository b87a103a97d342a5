"""Optimizer factory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module

import torch

from yxanul.optim.config import OptimSettings, Role
from yxanul.optim.groups import parameter_groups


def build_optimizer(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
    roles: Mapping[str, Role],
    settings: OptimSettings,
) -> torch.optim.Optimizer:
    """Return the optimizer of `settings` over parameters grouped by `roles`."""
    groups = parameter_groups(named_parameters, roles, settings)
    return import_module(f"yxanul.optim.{settings.name}").build(groups, settings)
