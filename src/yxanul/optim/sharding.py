"""Interface between optimizers and sharded parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class TensorGather:
    """No-op for unsharded parameters; overridden in `train/parallel/row_shards.py`."""

    def shape(self, param: Tensor) -> torch.Size:
        """Return the full shape of a parameter."""
        return param.shape

    def joined(self, params: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
        """Gather values that belong to parameters of one shape."""
        return list(values)

    def own(self, whole: Tensor) -> Tensor:
        """Return this rank's shard of a full tensor."""
        return whole
