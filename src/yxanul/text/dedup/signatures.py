"""MinHash signatures: the share of equal values in two of them estimates their Jaccard index.

Computed by rensa: on stories it was six times as fast as datasketch, with no larger error (root
mean square at most 0.046 with 128 permutations), and it has no dependencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from yxanul.base.errors import missing_package

_SEED = 1


def signing_method() -> str:
    """Return the name of the algorithm: signatures of another one are not comparable."""
    return f"rensa-r{_minhash().ALGORITHM_VERSION}"


def signatures(ngrams: Sequence[np.ndarray], permutations: int) -> np.ndarray:
    """Return a signature for each set of n-grams: uint32 [sets, permutations].

    An empty set gets zeros, which are not meaningful.
    """
    lengths = [len(hashes) for hashes in ngrams]
    signed = np.zeros((len(ngrams), permutations), np.uint32)
    filled = np.flatnonzero(lengths)
    if len(filled):
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.uint64)
        starts = starts[[*filled.tolist(), len(ngrams)]]
        matrix = _minhash().digest_matrix_from_flat_token_hashes(
            np.concatenate(ngrams), starts, permutations, _SEED
        )
        signed[filled] = np.array(matrix.to_rows(), np.uint32)
    return signed


def _minhash() -> Any:
    try:
        return import_module("rensa").RMinHash
    except ImportError:
        raise missing_package("rensa", "data") from None
