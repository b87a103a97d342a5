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
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from yxanul.text.documents import Document
from yxanul.text.filters.config import RepetitionFilterSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from yxanul.text.words import Numbers

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
        top = sorted(self._settings.top_ngram_chars.items())
        duplicate = sorted(self._settings.duplicate_ngram_chars.items())
        if not (top or duplicate) or not (words := _Words(text)).chars:
            return None
        if _breaks_top(words, top):
            return "top_ngram_chars"
        return "duplicate_ngram_chars" if _breaks_duplicate(words, duplicate) else None


def _duplicate_shares(pieces: Sequence[str]) -> tuple[float, float]:
    """Return the share of duplicates among `pieces`, and their share of the characters."""
    seen: set[str] = set()
    again = [piece for piece in pieces if piece in seen or seen.add(piece)]
    return len(again) / len(pieces), sum(map(len, again)) / sum(map(len, pieces))


class _Words:
    """N-gram hashes of a text, and the lengths of its words."""

    def __init__(self, text: str):
        import numpy as np

        from yxanul.text.words import Runs, numbers_of, pieces_of

        numbers, chars = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for piece in pieces_of(text, _SPACE):
            words = piece.split()
            numbers.append(numbers_of(words))
            chars.append(np.fromiter(map(len, words), np.int64, len(words)))
        self.chars_of = np.concatenate(chars)
        self.runs = Runs(np.concatenate(numbers))
        self._sums = np.concatenate(([0], np.cumsum(self.chars_of)))
        self.chars = int(self._sums[-1])

    def __len__(self) -> int:
        return len(self.chars_of)

    def lengths(self, n: int) -> NDArray[np.int64]:
        """Return the number of characters of each n-gram."""
        return self._sums[n:] - self._sums[:-n]

    def share(self, starts: NDArray[np.intp], n: int) -> float:
        """Return the share of characters covered by the n-grams at `starts`."""
        import numpy as np

        edges = np.zeros(len(self) + 1, np.int8)
        edges[starts] += 1
        edges[starts + n] -= 1
        covered = np.cumsum(edges[:-1], dtype=np.int64) > 0
        return int(self.chars_of[covered].sum()) / self.chars


def _breaks_top(words: _Words, rules: Sequence[tuple[int, float]]) -> bool:
    """Return whether the most frequent n-gram exceeds the maximum share of a rule."""
    import numpy as np

    most = len(words)
    for n, bound in rules:
        if n > len(words):
            return False
        lengths = words.lengths(n)
        # A longer n-gram is never more frequent than a shorter one: an upper bound, often enough.
        limit = bound * words.chars / int(lengths.max())
        if most <= limit:
            continue
        keys = words.runs.all(n)
        ordered, counts = _counted(keys)
        most = int(counts.max())
        if most < 2:
            return False
        if most > limit:
            candidates = np.flatnonzero(_is_in(keys, ordered[counts == most]))
            chosen = keys[candidates[np.argmax(lengths[candidates])]]
            if words.share(np.flatnonzero(keys == chosen), n) > bound:
                return True
    return False


def _breaks_duplicate(words: _Words, rules: Sequence[tuple[int, float]]) -> bool:
    """Return whether the duplicate n-grams exceed the maximum share of a rule."""
    import numpy as np

    for (n, bound), lowest in zip(rules, _lowest_from(rules), strict=True):
        if n > len(words):
            return False
        keys = words.runs.all(n)
        ordered, counts = _counted(keys)
        repeated = counts > 1
        # Shorter duplicate n-grams cover all that longer ones do, so a share below `lowest` (the
        # lowest bound from here on) ends the search.
        at_most = int(counts[repeated].sum()) * int(words.lengths(n).max()) / words.chars
        if at_most <= lowest:
            return False
        share = words.share(np.flatnonzero(_is_in(keys, ordered[repeated])), n)
        if share > bound:
            return True
        if share <= lowest:
            return False
    return False


def _lowest_from(rules: Sequence[tuple[int, float]]) -> Iterator[float]:
    """Yield for each rule the lowest bound of it and all later rules."""
    for start in range(len(rules)):
        yield min(bound for _, bound in rules[start:])


def _counted(keys: Numbers) -> tuple[Numbers, NDArray[np.intp]]:
    """Return the sorted distinct keys and their counts."""
    import numpy as np

    keys = np.sort(keys)
    firsts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return keys[firsts], np.diff(firsts, append=len(keys))


def _is_in(keys: Numbers, some: Numbers) -> NDArray[np.bool_]:
    """Return for each key whether it is in the sorted, non-empty array `some`."""
    import numpy as np

    return some[np.minimum(np.searchsorted(some, keys), len(some) - 1)] == keys
