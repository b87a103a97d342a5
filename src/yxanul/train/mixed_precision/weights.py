"""Low-precision copy of a model with fp32 master weights.

Weights are cast once per step, not per micro-batch, and gradients of micro-batches are accumulated
in fp32 (Micikevicius et al. 2018, arXiv 1710.03740). In fp32 the copy is the master itself.
"""

from __future__ import annotations

import contextlib
import copy
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from yxanul.base.errors import YxanulError
from yxanul.model.language_model import LanguageModel
from yxanul.monitor.peak_flops import has_bf16_units, matmul_peak
from yxanul.train.mixed_precision.config import Fp8Settings
from yxanul.train.mixed_precision.fp8 import Context, to_fp8

DTYPES = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "fp8": torch.bfloat16,
}
"""Dtype of the model's weights and activations."""

WORTH_BF16 = 1.3
"""Minimum speedup of bf16 matrix products over fp32 at which `auto` chooses bf16."""


FLOOR, CEILING = 1.0, 2.0**24
"""Limits of the loss scale."""


@dataclass(frozen=True)
class LossScale:
    """Loss scale, halved on non-finite gradients and doubled after enough finite steps in a row.

    As in Micikevicius et al. 2018 (arXiv 1710.03740). Always a power of two, so that scaling and
    unscaling are exact.
    """

    value: float = 65536.0
    growth_steps: int = 2000
    """Consecutive steps with finite gradients after which the value is doubled."""
    good_steps: int = 0
    """Steps with finite gradients since the value last changed."""

    def after_step(self, finite: bool) -> LossScale:
        """Return the scale for the next step, after one whose gradients were finite or not."""
        if not finite:
            return replace(self, value=max(FLOOR, self.value / 2), good_steps=0)
        if self.good_steps + 1 < self.growth_steps:
            return replace(self, good_steps=self.good_steps + 1)
        return replace(self, value=min(CEILING, self.value * 2), good_steps=0)

    @property
    def at_floor(self) -> bool:
        """Whether it cannot be lowered further."""
        return self.value <= FLOOR

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the arguments of another."""
        return asdict(self)


class MixedPrecision:
    """`master_model` holds the trained fp32 weights; `model` computes with a cast copy.

    A step: per micro-batch, compute the loss inside `forward_context`, multiply by `loss_factor`,
    backward, `collect`; then update the master, `refresh`, `after_update`.
    """

    def __init__(self, master: LanguageModel, precision: str, fp8: Fp8Settings | None = None):
        self.master_model = master
        self.precision = precision
        dtype = DTYPES[precision]
        self.is_master = dtype is torch.float32
        self.model = master if self.is_master else copy.deepcopy(master).to(dtype)
        self.scale = LossScale() if precision == "fp16" else None
        self._context: Context = contextlib.nullcontext
        if precision == "fp8":
            self._context = to_fp8(self.model, fp8 or Fp8Settings())

    def forward_context(self) -> AbstractContextManager[Any]:
        """Return the context of the forward pass; the backward pass must run outside of it."""
        return self._context()

    @property
    def loss_factor(self) -> float:
        """Loss scale, applied before the backward pass; `collect` undoes it."""
        return 1.0 if self.scale is None else self.scale.value

    @torch.no_grad()
    def refresh(self) -> None:
        """Cast the master's weights into the model."""
        if not self.is_master:
            for weight, master in zip(
                _weights(self.model), _weights(self.master_model), strict=True
            ):
                weight.copy_(master)

    @torch.no_grad()
    def collect(self) -> None:
        """Add the model's gradients, divided by the loss factor, to the master's; clear them."""
        if self.is_master:
            return
        share = 1.0 / self.loss_factor
        for master, weight in zip(_weights(self.master_model), _weights(self.model), strict=True):
            if weight.grad is None:
                continue
            if master.grad is None:
                master.grad = weight.grad.float().mul_(share)
            else:
                master.grad.add_(weight.grad, alpha=share)
            weight.grad = None

    def after_update(self, finite: bool) -> bool:
        """Update the loss scale; return whether a non-finite step is excused.

        It is excused if the loss scale was lowered in response. At the scale's floor, and without
        a scale, non-finite gradients make a bad step.
        """
        if self.scale is None:
            return False
        lowered = not finite and not self.scale.at_floor
        self.scale = self.scale.after_step(finite)
        return lowered


def choose_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda` on this machine."""
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise YxanulError("train.device is cuda, but no GPU is available", hint="use auto or cpu")
    return torch.device("cuda" if name != "cpu" and has_gpu else "cpu")


def choose_precision(name: str, device: torch.device) -> str:
    """Resolve `auto` on this device: bf16 if its matrix products are clearly faster, else fp32.

    Whether fp8 is faster still depends on the model and shape: see `decide.py`.
    """
    if name != "auto":
        return name
    if not has_bf16_units(device):
        return "fp32"
    fp32 = matmul_peak(device, torch.float32).flops_per_second
    bf16 = matmul_peak(device, torch.bfloat16).flops_per_second
    return "bf16" if bf16 > WORTH_BF16 * fp32 else "fp32"


def _weights(model: nn.Module) -> list[nn.Parameter]:
    return list(model.parameters())
