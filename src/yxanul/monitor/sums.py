"""Sums over the elements of tensors, from which mean, deviation, norm and extremes follow.

Measured values stay on the device until all of a step's are moved to the host at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from yxanul.monitor.trackers.tracker import Histogram

PIECE = {"cpu": 2**18, "cuda": 2**22}
"""Elements read at a time: on a CPU few enough to stay in its cache from one sum to the next, on a
GPU enough to make the launches few."""
FREE_TO_READ = ("cpu",)
"""Devices whose values the host can look at without waiting."""


class Measurement(NamedTuple):
    """Values measured on the device, and what becomes of them on the host."""

    values: Tensor
    """1-D, float64."""
    finish: Callable[[list[list[float]]], Mapping[str, float | Histogram]]
    """Returns metrics by name, from the values of every rank that holds a shard of the weights
    (only this rank's if they are not sharded)."""


class Sums(NamedTuple):
    """Sums over the elements of some tensors, seen as one vector."""

    length: float
    total: float
    squares: float
    max: float
    min: float
    zeros: float
    infs: float
    nans: float

    @classmethod
    def combined(cls, parts: Iterable[Sums]) -> Sums:
        """Return the sums over the elements of all parts; there must be one."""
        columns = zip(*parts, strict=True)
        how = (sum, sum, sum, _highest, _lowest, sum, sum, sum)
        return cls(*(combine(column) for combine, column in zip(how, columns, strict=True)))

    @property
    def mean(self) -> float:
        """Arithmetic mean; NaN without elements."""
        return self.total / self.length if self.length else math.nan

    @property
    def mean_square(self) -> float:
        """Mean of the squared elements; NaN without elements."""
        return self.squares / self.length if self.length else math.nan

    @property
    def std(self) -> float:
        """Standard deviation, dividing by the number of elements."""
        variance = self.mean_square - self.mean**2
        return 0.0 if variance < 0 else math.sqrt(variance)

    @property
    def norm(self) -> float:
        """L2 norm."""
        return math.sqrt(self.squares)


FIGURES = ("mean", "std", "max", "min")
"""Statistics of a vector that metrics show."""
NUM_SUMS = len(Sums._fields)
NOTHING = Sums(0, 0, 0, -math.inf, math.inf, 0, 0, 0)


@torch.no_grad()
def sums_of(tensors: Sequence[Tensor]) -> Tensor:
    """Return the fields of `Sums` over some tensors, 1-D in float64, on their device."""
    rows = [_sums(piece) for piece in pieces(tensors)]
    if not rows:  # a rank's shards of small weights
        return torch.tensor(NOTHING, dtype=torch.float64, device=tensors[0].device)
    table = torch.stack(rows)
    sums = table.sum(0)
    sums[3], sums[4] = table[:, 3].amax(), table[:, 4].amin()
    return sums


def pieces(tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the elements of all tensors in vectors of at most `PIECE`; small tensors are joined."""
    small: list[Tensor] = []
    flat = [tensor.detach().flatten() for tensor in tensors]
    size = PIECE.get(flat[0].device.type, PIECE["cpu"]) if flat else 1
    for piece in (piece for tensor in flat for piece in tensor.split(size)):
        if small and sum(one.numel() for one in small) + piece.numel() > size:
            yield torch.cat(small)
            small = []
        if piece.numel() == size:
            yield piece
        elif piece.numel():
            small.append(piece)
    if small:
        yield torch.cat(small)


def _sums(piece: Tensor) -> Tensor:
    wide, (low, high) = piece.double(), piece.aminmax()
    total = wide.sum()
    columns = (
        torch.full_like(total, piece.numel()),
        total,
        wide.dot(wide),
        high,
        low,
        piece.numel() - piece.count_nonzero(),
        *_not_finite(piece, total),
    )
    return torch.stack([column.double() for column in columns])


def _not_finite(piece: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of infinities and NaNs: none if the sum, which cannot overflow, is finite;
    but only looking at a CPU's values is free."""
    if piece.device.type in FREE_TO_READ and math.isfinite(float(total)):
        nothing = torch.zeros_like(total)
        return nothing, nothing
    return piece.isinf().sum(), piece.isnan().sum()


def _highest(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values)


def _lowest(values: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else min(values)
