"""Which documents hang together: a forest in one array, 4 bytes a document."""

from __future__ import annotations

import numpy as np

_CHUNK = 1 << 20


class Components:
    """Sets of documents; the root of each is its earliest document."""

    def __init__(self, documents: int) -> None:
        self._parents = np.arange(documents, dtype=np.uint32)

    def roots(self, documents: np.ndarray) -> np.ndarray:
        """Return the root of each document, and shorten the ways to it."""
        parents = self._parents
        while True:
            up = parents[documents]
            further = parents[up]
            if np.array_equal(up, further):
                return up
            parents[documents] = further

    def unite(self, left: np.ndarray, right: np.ndarray) -> None:
        """Put each pair of documents into one set."""
        while len(left):
            a, b = self.roots(left), self.roots(right)
            apart = a != b
            left, right, a, b = left[apart], right[apart], a[apart], b[apart]
            # Roots hang below smaller ones only: that ends, and the smallest stays on top.
            np.minimum.at(self._parents, np.maximum(a, b), np.minimum(a, b))

    def later_members(self) -> np.ndarray:
        """Return whether a document is in one set with an earlier one: bool [documents]."""
        later = np.empty(len(self._parents), bool)
        for start in range(0, len(later), _CHUNK):
            parents = self._parents[start : start + _CHUNK]
            later[start : start + _CHUNK] = parents != np.arange(start, start + len(parents))
        return later
