"""Decontamination: drop training documents that overlap with benchmark test sets.

A test-set text is matched by 13-gram overlap (Brown et al. 2020, appendix C), one of 8 to 12 words
as a whole. Words are runs of lower-cased letters and digits; everything else separates them.
N-grams without a letter, such as counting, are not matched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file
from yxanul.text.documents import Document
from yxanul.text.words import NGramHashes, Numbers, are_in, numbers_of, pieces_of

MAX_WORDS = 13
MIN_WORDS = 8
# Entries of the prefilter table per prefix: sparse, so that most of a document's words miss.
_ROOM = 8
_SEPARATORS = re.compile(r"[\W_]")
_WORDS = re.compile(r"[^\W_]+")
_ASCII = {n: chr(n).lower() if chr(n).isalnum() else " " for n in range(128)}


def words_of(text: str) -> list[str]:
    """Return the words of `text`: runs of lower-cased letters and digits."""
    if text.isascii():
        return text.translate(_ASCII).split()
    return _WORDS.findall(text.lower())


@dataclass(frozen=True, eq=False)
class Ngrams:
    """Hashed n-grams of test sets, sorted."""

    by_length: Mapping[int, Numbers]
    """N-grams by their length in words."""
    beginnings: Numbers
    """First 8 words of every n-gram, for a fast negative test."""
    too_short: int = 0
    """Number of texts with fewer than 8 words, which are not matched."""

    def __len__(self) -> int:
        return sum(map(len, self.by_length.values()))

    def save(self, path: Path) -> None:
        """Write an .npz file atomically; equal n-grams give equal files."""
        hashes = {f"length_{length}": own for length, own in sorted(self.by_length.items())}
        others = {"beginnings": self.beginnings, "too_short": np.int64(self.too_short)}
        with atomic_file(path) as file:
            np.savez(file, **hashes, **others)

    @classmethod
    def load(cls, path: Path) -> Ngrams:
        """Read what `save` wrote."""
        try:
            with open(path, "rb") as file:
                arrays = dict(np.load(file, allow_pickle=False))
            hashes = {
                int(k.removeprefix("length_")): v for k, v in arrays.items() if k[-1].isdigit()
            }
            return cls(hashes, arrays["beginnings"], int(arrays["too_short"]))
        except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
            raise YxanulError(f"{path} is not a file of benchmark n-grams", got=error) from None


def ngrams_of(texts: Iterable[str]) -> Ngrams:
    """Return the n-grams of the texts of one or more test sets."""
    by_length: dict[int, list[Numbers]] = {}
    beginnings: list[Numbers] = []
    too_short = 0
    for text in texts:
        words = words_of(text)
        if len(words) < MIN_WORDS:
            too_short += 1
            continue
        length, hashes = min(len(words), MAX_WORDS), NGramHashes(numbers_of(words))
        starts = np.flatnonzero(_with_letters(words, length))
        by_length.setdefault(length, []).append(hashes.at(starts, length))
        beginnings.append(hashes.at(starts, MIN_WORDS))
    distinct = {length: _distinct(numbers) for length, numbers in by_length.items()}
    return Ngrams(distinct, _distinct(beginnings), too_short)


class Decontaminate:
    """Filter: drop documents that share an n-gram with a test set.

    N-grams are compared by 64-bit hashes, without verification. A false positive has a probability
    of about (words of the document) * (n-grams) / 2**60: with a million n-grams, less than one
    word in a trillion.
    """

    def __init__(self, ngrams: Ngrams):
        self._ngrams = ngrams
        bits = max(10, (_ROOM * len(ngrams.beginnings)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._may_begin = np.zeros(1 << bits, np.bool_)
        self._may_begin[ngrams.beginnings >> self._shift] = True

    def cause(self, document: Document) -> str | None:
        """Return "contaminated" if the document has an n-gram of a test set."""
        overlap = np.zeros(0, np.uint64)
        for piece in pieces_of(document.text, _SEPARATORS):
            numbers = np.concatenate((overlap, numbers_of(words_of(piece))))
            if self._has_match(numbers):
                return "contaminated"
            overlap = numbers[max(len(numbers) - MAX_WORDS + 1, 0) :]
        return None

    def _has_match(self, numbers: Numbers) -> bool:
        hashes = NGramHashes(numbers)
        beginnings = hashes.all(MIN_WORDS)
        starts = np.flatnonzero(self._may_begin[beginnings >> self._shift])
        starts = starts[are_in(beginnings[starts], self._ngrams.beginnings)]
        for length, ngrams in self._ngrams.by_length.items() if len(starts) else ():
            fitting = starts[starts + length <= len(numbers)]
            if are_in(hashes.at(fitting, length), ngrams).any():
                return True
        return False


def _with_letters(words: list[str], length: int) -> NDArray[np.bool_]:
    """Return for each n-gram of `length` words whether it has a letter."""
    letters = np.cumsum([0, *(not word.isdigit() for word in words)])
    return letters[length:] > letters[:-length]


def _distinct(numbers: list[Numbers]) -> Numbers:
    return np.unique(np.concatenate([np.zeros(0, np.uint64), *numbers]))
