"""A model in low precision beside its fp32 master.

Weights are cast once a step, not once a micro-batch, and gradients of micro-batches are summed in
fp32 (Micikevicius et al. 2018, arXiv 1710.03740). In fp32 the twin is the master itself.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from yxanul.base.errors import YxanulError
from yxanul.model.language_model import LanguageModel
from yxanul.monitor.peak import matmul_peak

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Twin:
    """`master` holds the weights that are trained; `model` computes with them."""

    def __init__(self, master: LanguageModel, precision: str):
        self.master = master
        self.precision = precision
        dtype = DTYPES[precision]
        self.is_master = dtype is torch.float32
        self.model = master if self.is_master else copy.deepcopy(master).to(dtype)

    @torch.no_grad()
    def refresh(self) -> None:
        """Cast the master's weights into the model."""
        if not self.is_master:
            for weight, master in zip(_weights(self.model), _weights(self.master), strict=True):
                weight.copy_(master)

    @torch.no_grad()
    def collect(self) -> None:
        """Add the model's gradients to the master's and clear them."""
        if self.is_master:
            return
        for master, weight in zip(_weights(self.master), _weights(self.model), strict=True):
            if weight.grad is None:
                continue
            if master.grad is None:
                master.grad = weight.grad.float()
            else:
                master.grad.add_(weight.grad)
            weight.grad = None


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu` or `cuda` means on this machine."""
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise YxanulError("train.device is cuda", found="no GPU", wanted="device: auto or cpu")
    return torch.device("cuda" if name != "cpu" and has_gpu else "cpu")


def choose_precision(name: str, device: torch.device) -> str:
    """Return what `auto` means here: bf16 where its matrix products are clearly faster."""
    if name != "auto":
        return name
    fp32 = matmul_peak(device, torch.float32).flops_per_second
    bf16 = matmul_peak(device, torch.bfloat16).flops_per_second
    return "bf16" if bf16 > 1.3 * fp32 else "fp32"


def _weights(model: nn.Module) -> list[nn.Parameter]:
    return list(model.parameters())
