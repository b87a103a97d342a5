"""Sums over the elements of tensors, from which mean, deviation, norm and extremes follow, and
histograms with fixed edges, so that those of several tensors and ranks add up.

Measured values stay on the device until all of a step's are moved to the host at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
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
        how = (sum, sum, sum, np.max, np.min, sum, sum, sum)
        return cls(*(float(combine(one)) for combine, one in zip(how, columns, strict=True)))

    @property
    def mean(self) -> float:
        """Arithmetic mean; NaN without elements."""
        return self.total / self.length if self.length else math.nan

    @property
    def std(self) -> float:
        """Standard deviation, dividing by the number of elements; NaN without elements."""
        variance = self.squares / self.length - self.mean**2 if self.length else math.nan
        return 0.0 if variance < 0 else math.sqrt(variance)

    @property
    def norm(self) -> float:
        """L2 norm."""
        return math.sqrt(self.squares)


FIGURES = ("mean", "std", "max", "min")
"""Statistics of a vector that metrics show."""
NUM_SUMS = len(Sums._fields)
NOTHING = Sums(0, 0, 0, -math.inf, math.inf, 0, 0, 0)
_MAGNITUDES = tuple(2.0 ** (quarter / 4) for quarter in range(-4 * 30, 4 * 6 + 1))
SIGNED_EDGES = (*(-edge for edge in reversed(_MAGNITUDES)), *_MAGNITUDES)
"""From -64 to 64, in steps of a quarter of a power of two; values beyond are in the outermost
bins."""
SHARE_EDGES = tuple(bin / 50 for bin in range(51))
"""From 0 to 1."""


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


def histogram_counts(tensors: Sequence[Tensor], edges: tuple[float, ...]) -> Tensor:
    """Return how many finite elements lie in each bin, float64, on their device."""
    device = tensors[0].device
    boundaries = torch.tensor(edges, dtype=torch.float32, device=device)
    counts = torch.zeros(len(edges) - 1, dtype=torch.float64, device=device)
    for piece in pieces(tensors):
        bins = torch.bucketize(piece, boundaries).clamp(1, len(edges) - 1) - 1
        counts.index_add_(0, bins, piece.isfinite().double())
    return counts


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
