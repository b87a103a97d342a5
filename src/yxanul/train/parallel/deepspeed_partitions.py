"""Access to DeepSpeed's internals: this rank's partition of the weights.

ZeRO flattens and concatenates the weights of a parameter group and splits the result into equal
partitions, one per rank.
"""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from yxanul.base.errors import YxanulError, missing_package
from yxanul.train.parallel.world import World

BF16 = "BF16_Optimizer"
KINDS = ("DeepSpeedZeroOptimizer", BF16)
"""DeepSpeed's optimizer classes: for ZeRO-1 and ZeRO-2, and for ZeRO-1 in bf16, where gradients are
accumulated in fp32."""


class Partitions:
    """This rank's fp32 partitions, one flat tensor per parameter group, and DeepSpeed's engine."""

    def __init__(self, engine: Any, members: Sequence[tuple[str, nn.Parameter, int]]):
        self.engine, self.zero = engine, engine.optimizer
        self._is_bf16 = type(self.zero).__name__ == BF16
        self._weights = {name: weight for name, weight, _ in members}
        self._group = {name: number for name, _, number in members}
        self.names = list(self._weights)

    @property
    def weights(self) -> list[torch.Tensor]:
        """Partitions of the fp32 weights that this rank updates, by group."""
        if self._is_bf16:
            return self.zero.fp32_groups_flat_partition
        return self.zero.single_partition_of_fp32_groups

    def gradients(self) -> list[torch.Tensor]:
        """Return their gradients after a step's last backward pass, split in any way."""
        if self._is_bf16:
            return self.zero.fp32_groups_gradient_flat_partition
        if self.zero.cpu_offload:
            self.zero._wait_for_offload_copies()
            return [weight.grad for weight in self.weights if weight.grad is not None]
        return [grad for group in self.zero.averaged_gradients.values() for grad in group]

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


NOISE = (
    "`torch.jit.script_method` is deprecated",
    "`torch.distributed.all_gather_into_tensor` is deprecated",
)
"""torch warnings caused by DeepSpeed's own calls."""

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
    return Partitions(engine, members)


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
