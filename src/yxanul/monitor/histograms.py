"""Histograms with fixed edges, so that those of several tensors and ranks add up.

Weights and gradients span many magnitudes: their bins are a quarter of a power of two wide.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from yxanul.monitor.sums import pieces

_MAGNITUDES = tuple(2.0 ** (quarter / 4) for quarter in range(-4 * 30, 4 * 6 + 1))
SIGNED_EDGES = (*(-edge for edge in reversed(_MAGNITUDES)), *_MAGNITUDES)
"""From -64 to 64, fine around 0; values beyond are counted in the outermost bins."""
SHARE_EDGES = tuple(bin / 50 for bin in range(51))
"""From 0 to 1."""


def histogram_counts(tensors: Sequence[Tensor], edges: tuple[float, ...]) -> Tensor:
    """Return how many finite elements lie in each bin, float64, on their device."""
    device = tensors[0].device
    boundaries = torch.tensor(edges, dtype=torch.float32, device=device)
    counts = torch.zeros(len(edges) - 1, dtype=torch.float64, device=device)
    for piece in pieces(tensors):
        bins = torch.bucketize(piece, boundaries).clamp(1, len(edges) - 1) - 1
        counts.index_add_(0, bins, piece.isfinite().double())
    return counts
