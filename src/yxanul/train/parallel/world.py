"""The distributed world from one rank's view; a single process is a world of size 1.

torch is imported only if there are other ranks: a single process starts reading text before.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from yxanul.base.errors import YxanulError
from yxanul.base.interrupt import StopRequest

T = TypeVar("T")

TIMEOUT = datetime.timedelta(minutes=30)
"""Timeout of collectives: a rank may score held-out text on its own."""
BARRIER_TIMEOUT = datetime.timedelta(days=30)
"""Timeout of `wait_for_main`, during which rank 0 may do long work."""
JOIN_TIMEOUT = datetime.timedelta(minutes=10)
"""Timeout of the rendezvous: all ranks are started together."""


@dataclass(frozen=True)
class World:
    """This process's rank, and the collectives over all ranks.

    All ranks run the same program in lockstep. A local measurement or decision (a clock, a signal,
    the contents of a disk) is made the same on all ranks by the methods here, which are collective.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """The rank on this machine: which of its GPUs to use."""
    barrier_group: Any = field(default=None, repr=False, compare=False)
    """Process group of `wait_for_main`, connected at startup: a rank that dies later is noticed at
    once, whereas one that never connects is not."""

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and messages."""
        return self.rank == 0

    def sum(self, value: float) -> float:
        """Return the sum over all ranks, bit-identical on each."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return float(total)

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """Return the values of every rank, in rank order; all ranks have equally many."""
        if self.size == 1:
            return [list(values)]
        import torch
        import torch.distributed as dist

        own = torch.tensor(values, dtype=torch.float64)
        everyone = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(everyone, own)
        return [one.tolist() for one in everyone]

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true on any rank."""
        return self.sum(float(flag)) > 0

    def broadcast(self, value: T) -> T:
        """Return rank 0's value on all ranks."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait_for_main(self) -> None:
        """Barrier with a long timeout: wait for rank 0, however long its work takes."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier(self.barrier_group)

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            self.sum(0.0)


@contextlib.contextmanager
def joined_world(device: str, stop: StopRequest) -> Iterator[World]:
    """Context manager: join the ranks started by torchrun or `--devices`; no-op for one process.

    `device` is the recipe's: with GPUs, each rank uses its own, and NCCL connects them. `stop`
    handles signals.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    with stop.importing():
        import torch
        import torch.distributed as dist

    world = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu and world.local_rank >= torch.cuda.device_count():
        raise YxanulError(
            "more processes than GPUs",
            got=f"{torch.cuda.device_count()} GPUs",
            expected=f"at least {os.environ.get('LOCAL_WORLD_SIZE', world.size)}",
            hint="lower --devices, or set train.device=cpu",
        )
    if on_gpu:
        torch.cuda.set_device(world.local_rank)
    _join(world, "cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    barrier_group = dist.new_group(backend="gloo", timeout=BARRIER_TIMEOUT)
    try:
        yield replace(world, barrier_group=barrier_group)
    finally:
        dist.destroy_process_group()


def _join(world: World, backend: str) -> None:
    """Rendezvous with the other ranks; raise YxanulError if one is missing after the timeout."""
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    keys = [f"yxanul/{rank}" for rank in range(world.size)]
    try:
        store, rank, size = next(rendezvous("env://", timeout=JOIN_TIMEOUT))
        store.set(keys[rank], "")
        store.wait(keys, JOIN_TIMEOUT)
    except dist.DistError as error:
        late = YxanulError(
            f"process {world.rank} of {world.size} could not connect to the others",
            got=str(error).partition("\n")[0],
            expected=f"all of them within {JOIN_TIMEOUT}",
            hint="check their output, and that they can reach MASTER_ADDR:MASTER_PORT",
        )
        late.is_retryable = True
        raise late from error
    store.set_timeout(TIMEOUT)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
