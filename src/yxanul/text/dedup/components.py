"""Connected components by union-find in one array, 4 bytes per document."""

from __future__ import annotations

import numpy as np

_CHUNK = 1 << 20


class Components:
    """Disjoint sets of documents; the root of each is its earliest document."""

    def __init__(self, documents: int) -> None:
        self._parents = np.arange(documents, dtype=np.uint32)

    def roots(self, documents: np.ndarray) -> np.ndarray:
        """Return the root of each document, with path compression."""
        parents = self._parents
        while True:
            up = parents[documents]
            further = parents[up]
            if np.array_equal(up, further):
                return up
            parents[documents] = further

    def unite(self, left: np.ndarray, right: np.ndarray) -> None:
        """Merge the sets of each pair of documents."""
        while len(left):
            a, b = self.roots(left), self.roots(right)
            apart = a != b
            left, right, a, b = left[apart], right[apart], a[apart], b[apart]
            # A root's parent is always smaller, so the loop ends with the smallest as the root.
            np.minimum.at(self._parents, np.maximum(a, b), np.minimum(a, b))

    def later_members(self) -> np.ndarray:
        """Return for each document whether its set has an earlier one: bool [documents]."""
        later = np.empty(len(self._parents), bool)
        for start in range(0, len(later), _CHUNK):
            parents = self._parents[start : start + _CHUNK]
            later[start : start + _CHUNK] = parents != np.arange(start, start + len(parents))
        return later
