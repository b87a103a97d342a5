"""The processes that train together, as one of them sees it; alone it is the whole world.

torch is imported where there are others: alone, text is on its way before torch is needed.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from yxanul.base.errors import YxanulError

T = TypeVar("T")

TIMEOUT = datetime.timedelta(minutes=30)
"""How long a process waits for the others: a rank may score held-out text on its own."""
BARRIER_TIMEOUT = datetime.timedelta(days=30)
"""How long it waits for the first one's work."""
JOIN_TIMEOUT = datetime.timedelta(minutes=10)
"""How long it waits for them at the start: they are started together."""


@dataclass(frozen=True)
class World:
    """This process's place among those that train together.

    All of them run the same program in step. What one of them measures or decides (a clock, a
    signal, what is on its disk) becomes the same for all by the methods here; each is called by
    all processes at the same point.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """The rank on this machine: which of its GPUs to use."""
    barrier_group: Any = field(default=None, repr=False, compare=False)
    """The group in which they wait for the first one. They are connected in it from the start: a
    process notices at once that another one is gone, but not that one does not come to connect."""

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks for all."""
        return self.rank == 0

    def sum(self, value: float) -> float:
        """Return the sum of every process's value, the same for all to the bit."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return float(total)

    def any(self, flag: bool) -> bool:
        """Say whether it is true anywhere."""
        return self.sum(float(flag)) > 0

    def broadcast(self, value: T) -> T:
        """Return what the first process gave; the others' own values are dropped."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait_for_main(self) -> None:
        """Go on once the first process is here, however long its work takes."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier(self.barrier_group)

    def barrier(self) -> None:
        """Go on once every process is here."""
        if self.size > 1:
            self.sum(0.0)


@contextlib.contextmanager
def joined_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun (or `--devices`) started; alone there is nothing to join.

    `device` is the recipe's: with GPUs each process has its own, and NCCL between them.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    import torch
    import torch.distributed as dist

    world = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu and world.local_rank >= torch.cuda.device_count():
        raise YxanulError(
            "there are more processes than GPUs",
            got=f"{torch.cuda.device_count()} GPUs",
            expected=f"at least {world.local_rank + 1}",
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
    """Meet the other processes; where one does not come in time, say so."""
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    here = [f"yxanul/{rank}" for rank in range(world.size)]
    try:
        store, rank, size = next(rendezvous("env://", timeout=JOIN_TIMEOUT))
        store.set(here[rank], "")
        store.wait(here, JOIN_TIMEOUT)
    except dist.DistError as error:
        late = YxanulError(
            f"process {world.rank} of {world.size} did not meet the others",
            got=str(error).partition("\n")[0],
            expected=f"all of them within {JOIN_TIMEOUT}",
            hint="see what the others say, and whether they reach MASTER_ADDR:MASTER_PORT",
        )
        late.is_accident = True
        raise late from error
    store.set_timeout(TIMEOUT)
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
