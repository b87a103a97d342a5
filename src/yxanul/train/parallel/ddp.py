"""DistributedDataParallel: every rank holds the whole model; gradients are summed."""

# Gradient buckets are not exported publicly.
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
    """Sums the gradients of a step once, in fp32, overlapping with the last backward pass.

    A sum, not a mean: each micro-batch's loss is divided by the targets of all ranks.
    """

    def __init__(
        self, mixed_precision: MixedPrecision, world: World, ema: EmaSettings | None = None
    ):
        super().__init__(mixed_precision, world, ema)
        if mixed_precision.model.compiles:
            # Layers are compiled one by one, so no graph needs splitting at bucket boundaries.
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
            init_sync=False,  # the weights are identical already
            gradient_as_bucket_view=True,
        )
        # A lambda, since torch checks annotations and does not accept them as strings.
        self._wrapper.register_comm_hook(self, lambda engine, bucket: engine.summed(bucket))
        self.module = self._wrapper

    def loss(self, batch: Batch, last: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Like `Engine.loss`; gradients are all-reduced in the last backward pass."""
        self._wrapper.require_backward_grad_sync = last  # read by the forward pass
        return super().loss(batch, last)

    @contextlib.contextmanager
    def probe(self) -> Iterator[Engine]:
        """Context manager: a single-process engine, with the memory for the sums reserved."""
        num_weights = sum(weight.numel() for weight in self._master_of)
        sums = torch.empty(num_weights, dtype=torch.float32, device=self.device)
        yield Engine(self.mixed_precision)
        del sums

    def collect(self, last: bool) -> None:
        """Accumulate gradients into the master's; the hook has added the last micro-batch's."""
        if last and not self.mixed_precision.is_master:
            self.mixed_precision.model.zero_grad(set_to_none=True)
        else:
            self.mixed_precision.collect()

    def summed(self, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        """Communication hook: start the all-reduce of a bucket's accumulated gradients."""
        buffer = bucket.buffer()
        if self.mixed_precision.is_master:  # the bucket includes the earlier micro-batches
            return _all_reduce(buffer).then(lambda _: buffer)
        sums = torch.empty(buffer.numel(), dtype=torch.float32, device=buffer.device)
        gradients = bucket.gradients()
        slots = sums.split([gradient.numel() for gradient in gradients])
        for weight, gradient, slot in zip(bucket.parameters(), gradients, slots, strict=True):
            master, slot = self._master_of[_parameter(weight)], slot.view_as(gradient)
            slot.copy_(gradient).mul_(1.0 / self.mixed_precision.loss_factor)
            if master.grad is not None:
                slot.add_(master.grad)
            master.grad = slot  # holds the sum once the backward pass is done
        return _all_reduce(sums).then(lambda _: buffer)


def _all_reduce(values: torch.Tensor) -> torch.futures.Future[Any]:
    work = dist.all_reduce(values, async_op=True)
    assert work is not None
    return work.get_future()


def _parameter(weight: torch.Tensor) -> nn.Parameter:
    assert isinstance(weight, nn.Parameter)
    return weight
