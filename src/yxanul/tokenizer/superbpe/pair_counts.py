"""Pairs of neighbours with the places they stand at, the commonest first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from yxanul.tokenizer.superbpe.token_array import BORDER, TokenText

MIN_COUNT = 2
"""A pair that is rarer is never merged, and never becomes commoner: it is not even kept."""
_PLACES_AT_ONCE = 1 << 22


class PairList:
    """Pairs sorted by count, then ids, with their places in one array."""

    def __init__(
        self, lefts: np.ndarray, rights: np.ndarray, counts: np.ndarray, places: np.ndarray
    ) -> None:
        """Take pairs in any order; `places` holds those of the first pair, of the second ..."""
        order = np.lexsort((rights, lefts, -counts))
        self._begins = (np.cumsum(counts) - counts)[order]
        self._lefts, self._rights, self._counts = lefts[order], rights[order], counts[order]
        self._places, self._next = places, 0

    def head(self) -> tuple[int, int, int] | None:
        """Return less the count, left and right id of the next pair, or None."""
        if self._next == len(self._counts):
            return None
        columns = (self._counts, self._lefts, self._rights)
        count, left, right = (int(column[self._next]) for column in columns)
        return -count, left, right

    def take(self) -> np.ndarray:
        """Return the places of the next pair and go on to the one after it."""
        begin, count = int(self._begins[self._next]), int(self._counts[self._next])
        self._next += 1
        return self._places[begin : begin + count]


def first_pairs(text: TokenText) -> PairList:
    """Return all pairs of a text in which nothing is merged yet; sorted in bounded memory."""
    lefts, rights, counts, places = [], [], [], []
    for low, high in _ranges(text):
        here = _places_of(text, low, high)
        keys = text.slots[here].astype(np.int64) * text.num_tokens + text.slots[here + 1]
        some_keys, some_counts, some_places = _grouped(keys, here)
        lefts.append((some_keys // text.num_tokens).astype(np.int32))
        rights.append((some_keys % text.num_tokens).astype(np.int32))
        counts.append(some_counts)
        places.append(some_places)
    return PairList(*(np.concatenate(parts) for parts in (lefts, rights, counts, places)))


def pairs_with(text: TokenText, new: int, starts: np.ndarray) -> PairList:
    """Return the pairs of `new`, which stands at `starts` and nowhere else, with its neighbours."""
    before, behind = text.before(starts), text.behind(starts, new)
    real = (before != BORDER) & (before != new)  # new before new is found from the first of them
    lefts, left_counts, left_places = _grouped(
        before[real], text.starts_before(starts[real], before[real])
    )
    real = behind != BORDER
    rights, right_counts, right_places = _grouped(behind[real], starts[real])
    return PairList(
        np.concatenate([lefts, np.full_like(rights, new)]),
        np.concatenate([np.full_like(lefts, new), rights]),
        np.concatenate([left_counts, right_counts]),
        np.concatenate([left_places, right_places]),
    )


def _grouped(keys: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the keys that come often enough, how often, and their places key by key, sorted."""
    order = np.argsort(keys, kind="stable")
    keys, places = keys[order], places[order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else []
    begins = np.asarray(begins, np.int64)
    counts = np.diff(np.append(begins, len(keys)))
    often = counts >= MIN_COUNT
    kept = places[np.repeat(often, counts)]
    return keys[begins[often]], counts[often].astype(np.int32), kept


def _ranges(text: TokenText) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids that each stand at not too many places (or are one id)."""
    real = text.slots[text.slots != BORDER]
    counts = np.bincount(real, minlength=text.num_tokens)
    low, num_places = 0, 0
    for token, count in enumerate(counts.tolist()):
        if num_places and num_places + count > _PLACES_AT_ONCE:
            yield low, token
            low, num_places = token, 0
        num_places += count
    yield low, text.num_tokens


def _places_of(text: TokenText, low: int, high: int) -> np.ndarray:
    """Return where an id from `low` to below `high` has a neighbour behind it."""
    lefts, rights = text.slots[:-1], text.slots[1:]
    found = np.flatnonzero((lefts >= low) & (lefts < high) & (rights != BORDER))
    return found.astype(text.place_type)
