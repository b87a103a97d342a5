"""A text as the set of its runs of n words, each a 64-bit number."""

from __future__ import annotations

import re

import numpy as np

from yxanul.text.words import Numbers, Runs, numbers_of, pieces_of

_MOST_WORDS = 2_000_000
"""So many words of a document are compared: what a giant one costs stays bounded."""

_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_WORDS = re.compile(r"\w+")
_WORDS_OR_SIGNS = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")
"""Where a script has no spaces between words, each sign counts as a word."""
_PIECE_ENDS = re.compile(r"\W")


def ngram_hashes(text: str, ngram: int) -> Numbers:
    """Return a number for each run of `ngram` words: empty where there are fewer words.

    Upper and lower case and punctuation make no difference.
    """
    numbers = [np.zeros(0, np.uint64)]
    missing = _MOST_WORDS
    for piece in pieces_of(text, _PIECE_ENDS):
        pattern = _WORDS if piece.isascii() else _WORDS_OR_SIGNS
        numbers.append(numbers_of(pattern.findall(piece.lower())[:missing]))
        missing -= len(numbers[-1])
        if missing == 0:
            break
    words = np.concatenate(numbers)
    return mixed(Runs(words).all(ngram)) if len(words) >= ngram else words[:0]


def mixed(numbers: Numbers) -> Numbers:
    """Spread 64-bit numbers over all bits, as SplitMix64 does (Steele et al. 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
