"""Row-wise sharding: each rank holds consecutive rows of every weight, in rank order.

Letters: W ranks, G tensors of one shape, R rows of the whole tensor, P rows of a shard (the last
shards may have fewer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from yxanul.optim.sharding import TensorGather
from yxanul.train.parallel.world import World


class RowShards(TensorGather):
    """Shards and gathers tensors as FSDP does: along the first axis, like `torch.chunk`."""

    def __init__(self, shapes: Mapping[Tensor, torch.Size], world: World):
        """Initialize with the full shapes, by this rank's shard."""
        self._shapes, self._world = shapes, world

    def shape(self, param: Tensor) -> torch.Size:
        """Return the full shape of a sharded parameter."""
        return self._shapes[param]

    def own(self, whole: Tensor) -> Tensor:
        """Return this rank's shard of a full tensor."""
        rows = self._rows(len(whole))
        return whole[self._world.rank * rows :][:rows]

    def first_row(self, param: Tensor) -> int:
        """Return which row of the full parameter is this rank's first."""
        return self._world.rank * self._rows(self._shapes[param][0])

    def joined(self, params: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
        """Gather values that belong to parameters of one shape. Collective."""
        num_rows, *rest = self._shapes[params[0]]
        rows, size = self._rows(num_rows), self._world.size
        mine_GP = values[0].new_zeros(len(values), rows, *rest)
        for slot, value in zip(mine_GP, values, strict=True):
            slot[: len(value)] = value
        all_WGP = mine_GP.new_empty(size, *mine_GP.shape)
        dist.all_gather(list(all_WGP), mine_GP)
        return list(all_WGP.transpose(0, 1).reshape(len(values), -1, *rest)[:, :num_rows])

    def _rows(self, num_rows: int) -> int:
        return -(-num_rows // self._world.size)
