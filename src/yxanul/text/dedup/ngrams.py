"""Hashed word n-grams of a text, for MinHash."""

from __future__ import annotations

import re

import numpy as np

from yxanul.text.words import Numbers, Runs, numbers_of, pieces_of

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
    return mixed(Runs(words).all(ngram)) if len(words) >= ngram else words[:0]


def mixed(numbers: Numbers) -> Numbers:
    """Mix the bits of 64-bit hashes with the finalizer of SplitMix64 (Steele et al. 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
