"""The one place that knows DeepSpeed's inside: which part of the weights is this process's.

ZeRO joins the weights of a group end to end, and cuts that into equal parts, one a process.
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
    """The fp32 parts of this process, one flat tensor a group, and DeepSpeed's engine."""

    def __init__(self, engine: Any, members: Sequence[tuple[str, nn.Parameter, int]]):
        self.engine, self.zero = engine, engine.optimizer
        self._weights = {name: weight for name, weight, _ in members}
        self._group = {name: number for name, _, number in members}
        self.names = list(self._weights)

    @property
    @abstractmethod
    def weights(self) -> list[torch.Tensor]:
        """What of the fp32 weights this process updates, group by group."""

    @abstractmethod
    def gradients(self) -> list[torch.Tensor]:
        """Return their gradients after the last backward pass of a step, in any pieces."""

    @abstractmethod
    def forget(self) -> None:
        """Drop the gradients of a step that is not applied."""

    def names_in(self, number: int) -> list[str]:
        """Return the names of a group's weights."""
        return [name for name, group in self._group.items() if group == number]

    @torch.no_grad()
    def refresh(self) -> None:
        """Cast the fp32 weights into the model; all processes call it together."""
        self.zero.update_lp_params()

    def whole(self, name: str, flats: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return what `flats` have for a weight, in its shape; all processes call it together."""
        weight, flat = self._weights[name], flats[self._group[name]]
        buffer = torch.zeros(weight.numel(), dtype=torch.float32, device=flat.device)
        at, start, count = self._place(weight)
        buffer[at : at + count] = flat.detach()[start : start + count]
        dist.all_reduce(buffer.view(torch.int32))  # a sum with zeros: exact, the sign of 0 too
        return buffer.view(weight.shape)

    @torch.no_grad()
    def fill(self, flats: Sequence[torch.Tensor], full: Mapping[str, torch.Tensor]) -> None:
        """Set `flats` to this process's part of full tensors."""
        for name in self.names:
            at, start, count = self._place(self._weights[name])
            part = flats[self._group[name]][start : start + count]
            part.copy_(full[name].flatten()[at : at + count])

    def end(self) -> None:
        """Free the model from DeepSpeed."""
        self.engine.destroy()
        self.engine.module_forward_pre_hook.remove()
        self.engine.module_forward_post_hook.remove()
        # It is destroyed again as garbage, when the weights are another engine's.
        self.engine.optimizer = None

    @staticmethod
    def _place(weight: Any) -> tuple[int, int, int]:
        """Return where this process's numbers begin, in a weight and in the part; how many."""
        mapping = weight._hp_mapping
        if mapping is None:
            return 0, 0, 0
        here, there = mapping.lp_fragment_address, mapping.hp_fragment_address
        return here.start, there.start, here.numel


class _ZeroParts(Partitions):
    """Of the optimizer that DeepSpeed makes for ZeRO-1 and ZeRO-2."""

    @property
    def weights(self) -> list[torch.Tensor]:
        return self.zero.single_partition_of_fp32_groups

    def gradients(self) -> list[torch.Tensor]:
        if self.zero.cpu_offload:
            self.zero._wait_for_offload_copies()
            return [weight.grad for weight in self.weights if weight.grad is not None]
        return [piece for group in self.zero.averaged_gradients.values() for piece in group]

    def forget(self) -> None:
        """Do what DeepSpeed does where gradients overflow in fp16."""
        zero = self.zero
        zero.zero_grad(set_to_none=True)
        zero.micro_step_id = -1
        if zero.cpu_offload:
            zero.reset_cpu_buffers()
            zero._offload_accumulated_param_ids = set()
        for number in range(len(self.weights)):
            zero.averaged_gradients[number] = zero.all_grad_tensors[number] = None


class _Bf16Parts(Partitions):
    """Of the optimizer that DeepSpeed makes for ZeRO-1 in bf16, with gradients summed in fp32."""

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
"""Warnings of torch about what DeepSpeed calls: nobody here can mend that."""

KINDS: dict[str, type[Partitions]] = {
    "DeepSpeedZeroOptimizer": _ZeroParts,
    "BF16_Optimizer": _Bf16Parts,
}
"""By the name of DeepSpeed's class."""

REFUSALS = (AssertionError, ValueError, TypeError, NotImplementedError)
"""What DeepSpeed raises where it cannot do what its configuration says."""


def divide(
    model: nn.Module, optimizer: torch.optim.Optimizer, config: Mapping[str, Any], world: World
) -> Partitions:
    """Give a model and an optimizer over its weights to DeepSpeed; return what this process holds.

    The optimizer then updates the parts. All processes call it together.
    """
    members = [
        (name, weight, number)
        for number, group in enumerate(optimizer.param_groups)
        for name, weight in zip(group["names"], group["params"], strict=True)
    ]
    os.environ.setdefault("LOCAL_RANK", str(world.local_rank))  # it asks for it
    deepspeed = load_deepspeed(members[0][1].device.type)
    try:
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=dict(config))
    except (*REFUSALS, deepspeed.DeepSpeedConfigError) as error:
        lines = str(error).strip().splitlines()[:3] or [type(error).__name__]
        raise YxanulError(
            "DeepSpeed refuses its configuration", got=" ".join(map(str.strip, lines))
        ) from error
    kind = type(engine.optimizer).__name__
    if kind not in KINDS:
        raise YxanulError(
            "the DeepSpeed configuration asks for another optimizer than ZeRO's", got=kind
        )
    return KINDS[kind](engine, members)


def _matters(record: logging.LogRecord) -> bool:
    """Say whether a line of DeepSpeed's log is news: which optimizers work is tested here."""
    return "using ZeRO with an untested optimizer" not in record.getMessage()


def load_deepspeed(device: str) -> Any:
    """Return the package, set up for `device`; YxanulError if it is not installed."""
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
    # A kernel for inference on a CPU: it would be compiled for half a minute, and never used.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
