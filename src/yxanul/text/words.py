"""64-bit hashes of words and n-grams, the same in every process and on every machine.

An n-gram's hash is a polynomial in the hashes of its words. Two different n-grams collide with a
probability of about 2**-60.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.uint64]

PIECE_CHARS = 1 << 20
_CACHED_WORDS = 1 << 18
_CACHED_WORD_CHARS = 32
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_KEPT_POWERS = 1 << 16


class _WordNumbers(dict[str, int]):
    """Cache of word hashes."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode(errors="surrogatepass"), digest_size=8).digest()
        number = int.from_bytes(digest, "little")
        if len(word) <= _CACHED_WORD_CHARS:
            if len(self) >= _CACHED_WORDS:
                self.clear()
            self[word] = number
        return number


_NUMBERS = _WordNumbers()


def numbers_of(words: Sequence[str]) -> Numbers:
    """Return the hash of each word."""
    return np.fromiter(map(_NUMBERS.__getitem__, words), np.uint64, len(words))


class NGramHashes:
    """Hashes of all n-grams of a text, by prefix sums.

    With the prefix sums S of word * base**position, the n-gram from i to j is
    (S[j] - S[i]) * base**-i, all modulo 2**64: an odd base has an inverse.
    """

    def __init__(self, words: Numbers):
        self._sums = np.zeros(len(words) + 1, np.uint64)
        np.cumsum(words * _powers(_BASE, len(words)), out=self._sums[1:])
        self._inverse = _powers(_INVERSE, len(words))

    def all(self, length: int) -> Numbers:
        """Return the hashes of all n-grams of `length` words, in order."""
        count = max(len(self._sums) - length, 0)
        return (self._sums[length:] - self._sums[:count]) * self._inverse[:count]

    def at(self, starts: NDArray[np.intp], length: int) -> Numbers:
        """Return the hashes of the n-grams of `length` words that begin at `starts`."""
        return (self._sums[starts + length] - self._sums[starts]) * self._inverse[starts]


def are_in(numbers: Numbers, some: Numbers) -> NDArray[np.bool_]:
    """Return for each number whether it is in the sorted array `some`."""
    if not len(some):
        return np.zeros(len(numbers), np.bool_)
    return some[np.minimum(np.searchsorted(some, numbers), len(some) - 1)] == numbers


def mixed(numbers: Numbers) -> Numbers:
    """Mix the bits of 64-bit hashes with the finalizer of SplitMix64 (Steele et al. 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def pieces_of(text: str, ends: re.Pattern[str]) -> Iterator[str]:
    """Split a long text after matches of `ends` to bound the memory for its words."""
    start = 0
    while start < len(text):
        match = ends.search(text, start + PIECE_CHARS)
        stop = match.end() if match else len(text)
        yield text[start:stop]
        start = stop


def _powers(base: int, count: int) -> Numbers:
    """Return base**0 up to base**(count - 1) modulo 2**64."""
    if count > _KEPT_POWERS:
        return _made_powers(base, count)
    return _kept_powers(base)[:count]


@lru_cache
def _kept_powers(base: int) -> Numbers:
    return _made_powers(base, _KEPT_POWERS)


def _made_powers(base: int, count: int) -> Numbers:
    factors = np.full(count, base, np.uint64)
    factors[0] = 1
    return np.cumprod(factors)
