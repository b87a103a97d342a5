"""Access to DeepSpeed's internals: this rank's partition of the weights.

ZeRO flattens and concatenates the weights of a parameter group and splits the result into equal
partitions, one per rank.
"""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from yxanul.base.errors import YxanulError, missing_package
from yxanul.train.parallel.world import World


class Partitions(ABC):
    """This rank's fp32 partitions, one flat tensor per parameter group, and DeepSpeed's engine."""

    def __init__(self, engine: Any, members: Sequence[tuple[str, nn.Parameter, int]]):
        self.engine, self.zero = engine, engine.optimizer
        self._weights = {name: weight for name, weight, _ in members}
        self._group = {name: number for name, _, number in members}
        self.names = list(self._weights)

    @property
    @abstractmethod
    def weights(self) -> list[torch.Tensor]:
        """Partitions of the fp32 weights that this rank updates, by group."""

    @abstractmethod
    def gradients(self) -> list[torch.Tensor]:
        """Return their gradients after a step's last backward pass, split in any way."""

    @abstractmethod
    def forget(self) -> None:
        """Drop the gradients of a skipped step."""

    def names_in(self, number: int) -> list[str]:
        """Return the names of a group's weights."""
        return [name for name, group in self._group.items() if group == number]

    def whole(self, name: str, flats: Sequence[torch.Tensor]) -> torch.Tensor:
        """Gather a weight from the partitions `flats`, in its shape. Collective."""
        weight, flat = self._weights[name], flats[self._group[name]]
        buffer = torch.zeros(weight.numel(), dtype=torch.float32, device=flat.device)
        offset, start, count = self._slice_of(weight)
        buffer[offset : offset + count] = flat.detach()[start : start + count]
        dist.all_reduce(buffer.view(torch.int32))  # a sum with zeros as int32: exact, even for -0.0
        return buffer.view(weight.shape)

    @torch.no_grad()
    def fill(self, flats: Sequence[torch.Tensor], full: Mapping[str, torch.Tensor]) -> None:
        """Set `flats` to this rank's partitions of full tensors."""
        for name in self.names:
            offset, start, count = self._slice_of(self._weights[name])
            part = flats[self._group[name]][start : start + count]
            part.copy_(full[name].flatten()[offset : offset + count])

    def end(self) -> None:
        """Detach the model from DeepSpeed."""
        self.engine.destroy()
        self.engine.module_forward_pre_hook.remove()
        self.engine.module_forward_post_hook.remove()
        # Its destructor runs destroy() again, when the weights may belong to another engine.
        self.engine.optimizer = None

    @staticmethod
    def _slice_of(weight: Any) -> tuple[int, int, int]:
        """Return this rank's slice of a weight: offset in the weight, in the partition, length."""
        mapping = weight._hp_mapping
        if mapping is None:
            return 0, 0, 0
        here, there = mapping.lp_fragment_address, mapping.hp_fragment_address
        return here.start, there.start, here.numel


class _ZeroParts(Partitions):
    """Partitions of `DeepSpeedZeroOptimizer` (ZeRO-1 and ZeRO-2)."""

    @property
    def weights(self) -> list[torch.Tensor]:
        return self.zero.single_partition_of_fp32_groups

    def gradients(self) -> list[torch.Tensor]:
        if self.zero.cpu_offload:
            self.zero._wait_for_offload_copies()
            return [weight.grad for weight in self.weights if weight.grad is not None]
        return [grad for group in self.zero.averaged_gradients.values() for grad in group]

    def forget(self) -> None:
        """Do what DeepSpeed does when fp16 gradients overflow."""
        zero = self.zero
        zero.zero_grad(set_to_none=True)
        zero.micro_step_id = -1
        if zero.cpu_offload:
            zero.reset_cpu_buffers()
            zero._offload_accumulated_param_ids = set()
        for number in range(len(self.weights)):
            zero.averaged_gradients[number] = zero.all_grad_tensors[number] = None


class _Bf16Parts(Partitions):
    """Partitions of `BF16_Optimizer` (ZeRO-1 in bf16, with gradients accumulated in fp32)."""

    @property
    def weights(self) -> list[torch.Tensor]:
        return self.zero.fp32_groups_flat_partition

    def gradients(self) -> list[torch.Tensor]:
        return self.zero.fp32_groups_gradient_flat_partition

    def forget(self) -> None:
        self.zero.zero_grad(set_to_none=True)


NOISE = (
    "`torch.jit.script_method` is deprecated",
    "`torch.distributed.all_gather_into_tensor` is deprecated",
)
"""torch warnings caused by DeepSpeed's own calls."""

KINDS: dict[str, type[Partitions]] = {
    "DeepSpeedZeroOptimizer": _ZeroParts,
    "BF16_Optimizer": _Bf16Parts,
}
"""Partitions by the name of DeepSpeed's optimizer class."""

REFUSALS = (AssertionError, ValueError, TypeError, NotImplementedError)
"""Exceptions that DeepSpeed raises for a configuration it does not support."""


def divide(
    model: nn.Module, optimizer: torch.optim.Optimizer, config: Mapping[str, Any], world: World
) -> Partitions:
    """Hand a model and its optimizer to DeepSpeed; return this rank's partitions.

    The optimizer then updates the partitions. Collective.
    """
    members = [
        (name, weight, number)
        for number, group in enumerate(optimizer.param_groups)
        for name, weight in zip(group["names"], group["params"], strict=True)
    ]
    os.environ.setdefault("LOCAL_RANK", str(world.local_rank))  # required by DeepSpeed
    deepspeed = load_deepspeed(members[0][1].device.type)
    try:
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=dict(config))
    except (*REFUSALS, deepspeed.DeepSpeedConfigError) as error:
        lines = str(error).strip().splitlines()[:3] or [type(error).__name__]
        raise YxanulError(
            "DeepSpeed rejected its configuration", got=" ".join(map(str.strip, lines))
        ) from error
    kind = type(engine.optimizer).__name__
    if kind not in KINDS:
        raise YxanulError(
            "the DeepSpeed configuration selects an unsupported optimizer wrapper",
            got=kind,
            expected=" or ".join(KINDS),
        )
    return KINDS[kind](engine, members)


def _matters(record: logging.LogRecord) -> bool:
    """Logging filter: drop the warning about untested optimizers, as ours are tested here."""
    return "using ZeRO with an untested optimizer" not in record.getMessage()


def load_deepspeed(device: str) -> Any:
    """Import and configure DeepSpeed for `device`; YxanulError if it is not installed."""
    if device == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        deepspeed: Any = importlib.import_module("deepspeed")
    except ModuleNotFoundError as error:
        if error.name != "deepspeed":
            raise
        raise missing_package("deepspeed", "deepspeed") from None
    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    deepspeed.utils.logger.addFilter(_matters)
    # A kernel for CPU inference: it would take half a minute to compile and is never used.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
