"""A text of token ids in which pairs are merged in place, at four bytes per initial token."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

BORDER = 1 << 30
"""Separates pre-tokens: no pair crosses it."""
_INSIDE = -BORDER


class TokenText:
    """Slots, one per initial token; a merged token occupies the slots of both its tokens.

    The first slot of a token holds its id, the last one ~id (if it is a different slot), so that
    both neighbours of a token are found without links. Slots in between hold no valid id. The
    number of slots follows from the id, as each new token results from one pair only.
    """

    def __init__(self, pieces: Iterable[np.ndarray], vocab_size: int) -> None:
        """Take arrays of ids below `vocab_size`; they may contain BORDER too."""
        border = np.array([BORDER], np.int32)
        arrays = [border]
        for piece in pieces:
            arrays += [np.asarray(piece, np.int32), border]
        self.slots = np.concatenate(arrays)
        self._spans = np.ones(vocab_size, np.int64)
        self.vocab_size = vocab_size
        self.position_type = np.int32 if self.slots.size < 1 << 31 else np.int64

    def positions_of_pair(self, left: int, right: int, positions: np.ndarray) -> np.ndarray:
        """Return those of `positions` where `left` is followed by `right`."""
        positions = positions[self.slots[positions] == left]
        return positions[self.slots[positions + self._step(left)] == right]

    def merge(self, left: int, right: int, positions: np.ndarray, new: int) -> np.ndarray:
        """Replace the pair at `positions` (sorted) by `new`; return where that was done.

        In a run such as aaa pairs overlap: then the first one is merged, as in encoding.
        """
        starts = _without_overlaps(positions, self._step(left)) if left == right else positions
        left_span, right_span = self._step(left), self._step(right)
        self._set_span(new, int(left_span) + int(right_span))
        self.slots[starts] = new
        self.slots[starts + left_span] = _INSIDE
        self.slots[starts + (left_span + right_span - self.position_type(1))] = ~new
        return starts

    def ids_before(self, starts: np.ndarray) -> np.ndarray:
        """Return the id of the token before each of the tokens at `starts`, or BORDER."""
        last = self.slots[starts - self.position_type(1)]
        return np.where(last < 0, ~last, last)

    def ids_after(self, starts: np.ndarray, token: int) -> np.ndarray:
        """Return the id of the token after each `token` at `starts`, or BORDER."""
        return self.slots[starts + self._step(token)]

    def starts_of_previous(self, starts: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return the start positions of the tokens `before`, which end just before `starts`."""
        return (starts - self._spans[before]).astype(self.position_type)

    def _step(self, token: int) -> np.integer:
        return self.position_type(self._spans[token])

    def _set_span(self, token: int, span: int) -> None:
        if token >= self._spans.size:
            self._spans = np.concatenate([self._spans, np.ones_like(self._spans)])
        self._spans[token] = span
        self.vocab_size = token + 1


def _without_overlaps(positions: np.ndarray, span: np.integer) -> np.ndarray:
    """Return every second position of each chain of positions that are `span` apart."""
    number = np.arange(len(positions))
    starts_chain = np.diff(positions, prepend=-1 - span) != span
    first = np.maximum.accumulate(np.where(starts_chain, number, 0))
    return positions[(number - first) % 2 == 0]
