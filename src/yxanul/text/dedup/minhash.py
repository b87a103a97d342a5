"""Word n-grams and MinHash signatures: the share of equal values in two signatures estimates the
Jaccard index of the n-grams of their texts.

Computed by rensa: on stories it was six times as fast as datasketch, with no larger error (root
mean square at most 0.046 with 128 permutations), and it has no dependencies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from yxanul.base.errors import missing_package
from yxanul.text.words import NGramHashes, Numbers, mixed, numbers_of, pieces_of

_SEED = 1
_MAX_WORDS = 2_000_000
"""Only this many words of a document are compared, which bounds the cost of a huge one."""
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_WORDS = re.compile(r"\w+")
_WORDS_OR_SIGNS = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")
"""In scripts without spaces between words, each character counts as a word."""
_PIECE_ENDS = re.compile(r"\W")


def ngram_hashes(text: str, ngram: int) -> Numbers:
    """Return a hash for each n-gram of `ngram` words, ignoring case and punctuation.

    The result is empty for a text with fewer words.
    """
    numbers = [np.zeros(0, np.uint64)]
    remaining = _MAX_WORDS
    for piece in pieces_of(text, _PIECE_ENDS):
        pattern = _WORDS if piece.isascii() else _WORDS_OR_SIGNS
        numbers.append(numbers_of(pattern.findall(piece.lower())[:remaining]))
        remaining -= len(numbers[-1])
        if remaining == 0:
            break
    words = np.concatenate(numbers)
    return mixed(NGramHashes(words).all(ngram)) if len(words) >= ngram else words[:0]


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
