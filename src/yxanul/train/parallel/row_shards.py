"""Weights in shards: each process has some rows of every one, the first process the first rows.

Letters: W processes, G tensors of one shape, R rows of the whole, P rows of a part (some of them
may be missing in the last ones).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from yxanul.optim.sharding import TensorGather
from yxanul.train.parallel.world import World


class RowShards(TensorGather):
    """Cuts and joins tensors as FSDP does: along their first axis, as `torch.chunk` would."""

    def __init__(self, shapes: Mapping[Tensor, torch.Size], world: World):
        """`shapes` are those of the wholes, by this process's part."""
        self._shapes, self._world = shapes, world

    def shape(self, param: Tensor) -> torch.Size:
        """Return the shape of the whole that a parameter is a part of."""
        return self._shapes[param]

    def own(self, whole: Tensor) -> Tensor:
        """Return this process's rows of a whole."""
        rows = self._rows(len(whole))
        return whole[self._world.rank * rows :][:rows]

    def joined(self, params: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
        """Return the wholes of values that belong to parameters of one shape.

        All processes call it together.
        """
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
