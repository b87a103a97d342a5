"""Repetition filter: the rules of Gopher (Rae et al. 2021, table A1).

The paper leaves some details open. Here:

* Lines and paragraphs are stripped, and empty ones ignored; a paragraph ends at a blank line. Every
  occurrence after the first is a duplicate: of three equal lines, two are. Shares of characters
  are relative to those of all lines or paragraphs.
* Words are separated by white space; the characters of an n-gram are those of its words. Of equally
  frequent top n-grams the one with the most characters counts, then the first one; an n-gram that
  occurs once is no repetition. Every occurrence of a duplicate n-gram counts, but overlapping
  n-grams count each character once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from yxanul.text.documents import Document
from yxanul.text.filters.config import RepetitionFilterSettings
from yxanul.text.words import NGramHashes, Numbers, are_in, numbers_of, pieces_of

_SPACE = re.compile(r"\s")


class RepetitionFilter:
    """Filter by the repetition rules."""

    def __init__(self, settings: RepetitionFilterSettings):
        self._settings = settings

    def cause(self, document: Document) -> str | None:
        """Return "repetition" if the document violates a rule."""
        return "repetition" if self.broken_rule(document.text) else None

    def broken_rule(self, text: str) -> str | None:
        """Return the setting that `text` violates, such as "duplicate_lines", or None."""
        return self._broken_by_lines(text) or self._broken_by_ngrams(text)

    def _broken_by_lines(self, text: str) -> str | None:
        lines = [line.strip() for line in text.split("\n")]
        filled = [line for line in lines if line]
        if len(set(filled)) == len(filled):
            return None  # without equal lines there are no equal paragraphs
        groups = groupby(lines, key=bool)
        paragraphs = ["\n".join(group) for is_filled, group in groups if is_filled]
        for name, pieces in (("line", filled), ("paragraph", paragraphs)):
            count_share, char_share = _duplicate_shares(pieces)
            if count_share > getattr(self._settings, f"duplicate_{name}s"):
                return f"duplicate_{name}s"
            if char_share > getattr(self._settings, f"duplicate_{name}_chars"):
                return f"duplicate_{name}_chars"
        return None

    def _broken_by_ngrams(self, text: str) -> str | None:
        if not (self._settings.top_ngram_chars or self._settings.duplicate_ngram_chars):
            return None
        words = _Words(text)
        most = len(text)
        for n, bound in sorted(self._settings.top_ngram_chars.items()):
            # A longer n-gram is no more frequent than a shorter one, so this rules out most texts.
            if words.share_bound(n, most) > bound:
                most, share = words.top(n)
                if share > bound:
                    return "top_ngram_chars"
        bounds = self._settings.duplicate_ngram_chars
        for n, bound in sorted(bounds.items()):
            share = words.duplicate_share(n)
            if share > bound:
                return "duplicate_ngram_chars"
            if share <= min(bounds.values()):  # longer n-grams cover no more
                return None
        return None


def _duplicate_shares(pieces: Sequence[str]) -> tuple[float, float]:
    """Return the share of duplicates among `pieces`, and their share of the characters."""
    seen: set[str] = set()
    again = [piece for piece in pieces if piece in seen or seen.add(piece)]
    return len(again) / len(pieces), sum(map(len, again)) / sum(map(len, pieces))


class _Words:
    """N-gram hashes of a text, and the lengths of its words."""

    def __init__(self, text: str):
        numbers, chars = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for piece in pieces_of(text, _SPACE):
            words = piece.split()
            numbers.append(numbers_of(words))
            chars.append(np.fromiter(map(len, words), np.int64, len(words)))
        self._chars = np.concatenate(chars)
        self._sums = np.concatenate(([0], np.cumsum(self._chars)))
        self._hashes = NGramHashes(np.concatenate(numbers))

    def _lengths(self, n: int) -> NDArray[np.int64]:
        """Return the number of characters of each n-gram."""
        return self._sums[n:] - self._sums[:-n]

    def share_bound(self, n: int, count: int) -> float:
        """Return an upper bound on the share of characters in `count` n-grams."""
        return count * int(self._lengths(n).max(initial=0)) / max(self._sums[-1], 1)

    def top(self, n: int) -> tuple[int, float]:
        """Return the count of the most frequent n-gram, and its share of the characters."""
        keys, ordered, counts = self._counted(n)
        most = int(counts.max(initial=0))
        if most < 2:
            return most, 0.0
        starts = np.flatnonzero(are_in(keys, ordered[counts == most]))
        longest = starts[np.argmax(self._lengths(n)[starts])]
        return most, self._share(np.flatnonzero(keys == keys[longest]), n)

    def duplicate_share(self, n: int) -> float:
        """Return the share of characters in n-grams that occur more than once."""
        keys, ordered, counts = self._counted(n)
        return self._share(np.flatnonzero(are_in(keys, ordered[counts > 1])), n)

    def _counted(self, n: int) -> tuple[Numbers, Numbers, NDArray[np.intp]]:
        """Return the n-grams in order, and the distinct ones, sorted, with their counts."""
        keys = self._hashes.all(n)
        return keys, *np.unique(keys, return_counts=True)

    def _share(self, starts: NDArray[np.intp], n: int) -> float:
        """Return the share of characters covered by the n-grams at `starts`."""
        if not len(starts):
            return 0.0
        edges = np.zeros(len(self._chars) + 1, np.int8)
        edges[starts] += 1
        edges[starts + n] -= 1
        covered = np.cumsum(edges[:-1], dtype=np.int64) > 0
        return int(self._chars[covered].sum()) / int(self._sums[-1])
