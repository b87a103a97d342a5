"""The table of optimizers, and the one way to make one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from yxanul.base.tables import pick
from yxanul.optim.adafactor import build_adafactor
from yxanul.optim.adamw import build_adamw
from yxanul.optim.config import OptimSettings, Role
from yxanul.optim.groups import parameter_groups
from yxanul.optim.lion import build_lion
from yxanul.optim.muon import build_muon
from yxanul.optim.sophia import build_sophia

OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], OptimSettings], torch.optim.Optimizer]] = {
    "adamw": build_adamw,
    "muon": build_muon,
    "lion": build_lion,
    "sophia": build_sophia,
    "adafactor": build_adafactor,
}
"""By name: what makes an optimizer from parameter groups (see `groups.parameter_groups`)."""


def build_optimizer(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
    roles: Mapping[str, Role],
    settings: OptimSettings,
) -> torch.optim.Optimizer:
    """Return the optimizer of `settings` over parameters that are labelled by `roles`."""
    groups = parameter_groups(named_parameters, roles, settings)
    return pick(OPTIMIZERS, settings.name, "optimizer")(groups, settings)
