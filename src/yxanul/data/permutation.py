"""Reproducible random permutations."""

from __future__ import annotations

import numpy as np


def permutation(count: int, seed: int) -> np.ndarray:
    """Return a permutation of 0..count-1, the same for a `seed` on any machine: int64 [count].

    Numbers are sorted by a key: the mixing function of SplitMix64 (Steele et al. 2014), which is a
    bijection, so there are no ties.
    """
    with np.errstate(over="ignore"):
        keys = np.arange(1, count + 1, dtype=np.uint64)
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        keys ^= keys >> np.uint64(31)
    return np.argsort(keys)
