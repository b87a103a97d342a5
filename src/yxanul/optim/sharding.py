"""How the tensors of a process lie within those of the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class TensorGather:
    """Whole parameters need no gathering; sharded ones do: `train/parallel/row_shards.py`."""

    def shape(self, param: Tensor) -> torch.Size:
        """Return the shape of the whole that a parameter is a part of."""
        return param.shape

    def joined(self, params: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
        """Return the wholes of values that belong to parameters of one shape."""
        return list(values)

    def own(self, whole: Tensor) -> Tensor:
        """Return this process's part of a whole."""
        return whole
