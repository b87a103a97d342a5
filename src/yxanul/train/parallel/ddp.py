"""DistributedDataParallel: every process holds the whole model; gradients are summed."""

# Buckets are public in all but name.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from yxanul.data.batches import Batch
from yxanul.optim.config import EmaSettings
from yxanul.train.engine import Engine
from yxanul.train.mixed_precision.weights import MixedPrecision
from yxanul.train.parallel.world import World


class DdpEngine(Engine):
    """Sums the gradients of a step once, in fp32, while the last backward pass is under way.

    A sum, not a mean: each micro-batch has been divided by the targets of all processes.
    """

    def __init__(
        self, mixed_precision: MixedPrecision, world: World, ema: EmaSettings | None = None
    ):
        super().__init__(mixed_precision, world, ema)
        if mixed_precision.model.compiles:
            # Layers are compiled one by one, so there is no graph that is to be cut for overlap.
            torch._dynamo.config.optimize_ddp = False
        self._master_of: dict[nn.Parameter, nn.Parameter] = dict(
            zip(
                mixed_precision.model.parameters(),
                mixed_precision.master_model.parameters(),
                strict=True,
            )
        )
        self._wrapper = DistributedDataParallel(
            mixed_precision.model,
            init_sync=False,  # the weights are the same already
            gradient_as_bucket_view=True,
        )
        # A lambda, since torch reads annotations and does not know them as text.
        self._wrapper.register_comm_hook(self, lambda engine, bucket: engine.summed(bucket))
        self.module = self._wrapper

    def loss(self, batch: Batch, last: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of `Engine.loss`; the backward pass of the last one brings all sums."""
        self._wrapper.require_backward_grad_sync = last  # read by the forward pass
        return super().loss(batch, last)

    @contextlib.contextmanager
    def probe(self) -> Iterator[Engine]:
        """Give an engine that nobody else waits for, with the memory that sums take held back."""
        numbers = sum(weight.numel() for weight in self._master_of)
        sums = torch.empty(numbers, dtype=torch.float32, device=self.device)
        yield Engine(self.mixed_precision)
        del sums

    def collect(self, last: bool) -> None:
        """Add gradients to the master's; those of the last micro-batch are there already."""
        if last and not self.mixed_precision.is_master:
            self.mixed_precision.model.zero_grad(set_to_none=True)
        else:
            self.mixed_precision.collect()

    def summed(self, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        """Begin to sum a bucket of the last gradients, with those before, over all processes."""
        buffer = bucket.buffer()
        if self.mixed_precision.is_master:  # the bucket holds the micro-batches before, too
            return _all_reduce(buffer).then(lambda _: buffer)
        sums = torch.empty(buffer.numel(), dtype=torch.float32, device=buffer.device)
        gradients = bucket.gradients()
        slots = sums.split([gradient.numel() for gradient in gradients])
        for weight, gradient, slot in zip(bucket.parameters(), gradients, slots, strict=True):
            master, slot = self._master_of[_parameter(weight)], slot.view_as(gradient)
            slot.copy_(gradient).mul_(1.0 / self.mixed_precision.loss_factor)
            if master.grad is not None:
                slot.add_(master.grad)
            master.grad = slot  # the sum is in there when the backward pass is over
        return _all_reduce(sums).then(lambda _: buffer)


def _all_reduce(values: torch.Tensor) -> torch.futures.Future[Any]:
    work = dist.all_reduce(values, async_op=True)
    assert work is not None
    return work.get_future()


def _parameter(weight: torch.Tensor) -> nn.Parameter:
    assert isinstance(weight, nn.Parameter)
    return weight
