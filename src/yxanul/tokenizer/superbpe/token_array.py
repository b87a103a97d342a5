"""A text of tokens in which pairs are merged in place, four bytes for each token of the start."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

BORDER = 1 << 30
"""Stands between pieces: no pair reaches over it."""
_INSIDE = -BORDER


class TokenText:
    """Slots, one for each token of the start; a merged token has the slots of its parts.

    The first slot of a token holds its id, the last one ~id (if it is another one), so that both
    neighbours of a token are found without links. Slots between them can be taken for no token.
    How many slots a token has follows from its id, as each new token comes of one pair only.
    """

    def __init__(self, pieces: Iterable[np.ndarray], num_tokens: int) -> None:
        """Take the ids of all pieces, each below `num_tokens`; BORDER may stand in them too."""
        border = np.array([BORDER], np.int32)
        parts = [border]
        for piece in pieces:
            parts += [np.asarray(piece, np.int32), border]
        self.slots = np.concatenate(parts)
        self._spans = np.ones(num_tokens, np.int64)
        self.num_tokens = num_tokens
        self.place_type = np.int32 if self.slots.size < 1 << 31 else np.int64

    def still_at(self, left: int, right: int, places: np.ndarray) -> np.ndarray:
        """Return those of `places` where `left` stands with `right` behind it."""
        places = places[self.slots[places] == left]
        return places[self.slots[places + self._step(left)] == right]

    def merge(self, left: int, right: int, places: np.ndarray, new: int) -> np.ndarray:
        """Write `new` for the pair at `places` (sorted); return where that was done.

        In a run such as aaa pairs overlap: then the first one is merged, as encoding does.
        """
        starts = _without_overlaps(places, self._step(left)) if left == right else places
        left_span, right_span = self._step(left), self._step(right)
        self._set_span(new, int(left_span) + int(right_span))
        self.slots[starts] = new
        self.slots[starts + left_span] = _INSIDE
        self.slots[starts + (left_span + right_span - self.place_type(1))] = ~new
        return starts

    def before(self, starts: np.ndarray) -> np.ndarray:
        """Return the id of the token before each of the tokens at `starts`, or BORDER."""
        last = self.slots[starts - self.place_type(1)]
        return np.where(last < 0, ~last, last)

    def behind(self, starts: np.ndarray, token: int) -> np.ndarray:
        """Return the id of the token behind each `token` at `starts`, or BORDER."""
        return self.slots[starts + self._step(token)]

    def starts_before(self, starts: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Return where the tokens `before` start that end just before `starts`."""
        return (starts - self._spans[before]).astype(self.place_type)

    def pieces(self) -> list[list[int]]:
        """Return the ids of each piece as they are now."""
        ids, pieces = self.slots.tolist(), list[list[int]]()
        place = 0
        while place < len(ids):
            if ids[place] == BORDER:
                pieces.append([])
                place += 1
            else:
                pieces[-1].append(ids[place])
                place += int(self._spans[ids[place]])
        return pieces[:-1]

    def _step(self, token: int) -> np.integer:
        return self.place_type(self._spans[token])

    def _set_span(self, token: int, span: int) -> None:
        if token >= self._spans.size:
            self._spans = np.concatenate([self._spans, np.ones_like(self._spans)])
        self._spans[token] = span
        self.num_tokens = token + 1


def _without_overlaps(places: np.ndarray, span: np.integer) -> np.ndarray:
    """Return every second place of each chain of places that are `span` apart."""
    number = np.arange(len(places))
    starts_chain = np.diff(places, prepend=-1 - span) != span
    first = np.maximum.accumulate(np.where(starts_chain, number, 0))
    return places[(number - first) % 2 == 0]
