"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), torch's fused implementation."""

from __future__ import annotations

from typing import Any

import torch

from yxanul.optim.config import OptimSettings

FUSED_DEVICES = ("cpu", "cuda")


def build(groups: list[dict[str, Any]], settings: OptimSettings) -> torch.optim.Optimizer:
    """Return AdamW over `groups`; fused if torch supports it (five times faster on a CPU)."""
    devices = {parameter.device.type for group in groups for parameter in group["params"]}
    return torch.optim.AdamW(
        groups,
        lr=settings.peak_lr,
        betas=settings.used_betas,
        eps=settings.used_eps,
        weight_decay=settings.weight_decay,
        fused=devices.issubset(FUSED_DEVICES),
    )
