"""Stage two of SuperBPE training: merges that may cross white space.

A naive implementation would recount all pairs after every merge. This one gives the same merges
because of two invariants. A pair of old tokens only loses occurrences: an earlier count is an upper
bound, so a pair is recounted only when it reaches the top of the queue. And only pairs with the
newest token are new: they are counted at the positions of its merge.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np

from yxanul.base.ui import ProgressTask
from yxanul.tokenizer.pre_tokenizers import may_be_superword
from yxanul.tokenizer.superbpe.token_array import BORDER, TokenText

MIN_COUNT = 2
"""Rarer pairs are dropped: they are never merged, and counts never grow."""
_POSITIONS_AT_ONCE = 1 << 22


class PairList:
    """Pairs sorted by descending count, then ids, with their positions in one array."""

    def __init__(
        self, lefts: np.ndarray, rights: np.ndarray, counts: np.ndarray, positions: np.ndarray
    ) -> None:
        """Take pairs in any order; `positions` concatenates theirs in the same order."""
        order = np.lexsort((rights, lefts, -counts))
        self._begins = (np.cumsum(counts) - counts)[order]
        self._lefts, self._rights, self._counts = lefts[order], rights[order], counts[order]
        self._positions, self._next = positions, 0

    def head(self) -> tuple[int, int, int] | None:
        """Return the negative count, left and right id of the next pair, or None."""
        if self._next == len(self._counts):
            return None
        columns = (self._counts, self._lefts, self._rights)
        count, left, right = (int(column[self._next]) for column in columns)
        return -count, left, right

    def take(self) -> np.ndarray:
        """Return the positions of the next pair and advance."""
        begin, count = int(self._begins[self._next]), int(self._counts[self._next])
        self._next += 1
        return self._positions[begin : begin + count]


Merge = tuple[int, int]
Entry = tuple[int, int, int, PairList | np.ndarray]
"""Negative count, left and right id, and the list whose next pair it is or its positions."""


class StageTwo:
    """Repeatedly merge the most frequent pair of a text; ties go to lower ids."""

    def __init__(self, text: TokenText, tokens: Sequence[bytes]) -> None:
        """Take a text of token ids, and the bytes of each id."""
        self.text = text
        self.tokens = list(tokens)
        self._known = set(tokens)
        self._queue: list[Entry] = []
        self._offer(first_pairs(text))

    def merges(self, vocab_size: int, task: ProgressTask) -> list[Merge]:
        """Merge until there are `vocab_size` tokens or no pair is left; return the merges."""
        done: list[Merge] = []
        while len(self.tokens) < vocab_size and (best := self._commonest()) is not None:
            left, right, starts = best
            done.append((left, right))
            self._merge(left, right, starts)
            task.advance(1)
        return done

    def _commonest(self) -> tuple[int, int, np.ndarray] | None:
        """Return the pair to merge next and its positions, or None."""
        while self._queue:
            negative_count, left, right, source = heapq.heappop(self._queue)
            if isinstance(source, PairList):
                positions = source.take()
                self._offer(source)
            else:
                positions = source
            if not self._allowed(left, right):
                continue
            positions = self.text.positions_of_pair(left, right, positions)
            if len(positions) == -negative_count:
                return left, right, positions
            if len(positions) >= MIN_COUNT:
                heapq.heappush(self._queue, (-len(positions), left, right, positions))
        return None

    def _allowed(self, left: int, right: int) -> bool:
        """Return whether a pair may ever be merged: the token is new and may be a superword.

        A second merge to an existing token would add nothing to the vocabulary, and encoding, which
        applies older merges first, would no longer match training.
        """
        token = self.tokens[left] + self.tokens[right]
        return token not in self._known and may_be_superword(token)

    def _merge(self, left: int, right: int, positions: np.ndarray) -> None:
        new, token = len(self.tokens), self.tokens[left] + self.tokens[right]
        self.tokens.append(token)
        self._known.add(token)
        starts = self.text.merge(left, right, positions, new)
        self._offer(pairs_with(self.text, new, starts))

    def _offer(self, pairs: PairList) -> None:
        if (head := pairs.head()) is not None:
            heapq.heappush(self._queue, (*head, pairs))


def first_pairs(text: TokenText) -> PairList:
    """Return all pairs of a text in which nothing is merged yet, sorted in bounded memory."""
    lefts, rights, counts, positions = [], [], [], []
    for low, high in _ranges(text):
        here = _positions_of(text, low, high)
        keys = text.slots[here].astype(np.int64) * text.vocab_size + text.slots[here + 1]
        some_keys, some_counts, some_positions = _grouped(keys, here)
        lefts.append((some_keys // text.vocab_size).astype(np.int32))
        rights.append((some_keys % text.vocab_size).astype(np.int32))
        counts.append(some_counts)
        positions.append(some_positions)
    return PairList(*(np.concatenate(arrays) for arrays in (lefts, rights, counts, positions)))


def pairs_with(text: TokenText, new: int, starts: np.ndarray) -> PairList:
    """Return the pairs of `new`, which occurs exactly at `starts`, with its neighbours."""
    before, after = text.ids_before(starts), text.ids_after(starts, new)
    real = (before != BORDER) & (before != new)  # a pair (new, new) is counted from its left one
    lefts, left_counts, left_positions = _grouped(
        before[real], text.starts_of_previous(starts[real], before[real])
    )
    real = after != BORDER
    rights, right_counts, right_positions = _grouped(after[real], starts[real])
    return PairList(
        np.concatenate([lefts, np.full_like(rights, new)]),
        np.concatenate([np.full_like(lefts, new), rights]),
        np.concatenate([left_counts, right_counts]),
        np.concatenate([left_positions, right_positions]),
    )


def _grouped(keys: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keys seen at least `MIN_COUNT` times, their counts, and their positions by key."""
    order = np.argsort(keys, kind="stable")
    keys, positions = keys[order], positions[order]
    begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else []
    begins = np.asarray(begins, np.int64)
    counts = np.diff(np.append(begins, len(keys)))
    often = counts >= MIN_COUNT
    kept = positions[np.repeat(often, counts)]
    return keys[begins[often]], counts[often].astype(np.int32), kept


def _ranges(text: TokenText) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids with a bounded number of positions each (or a single id)."""
    real = text.slots[text.slots != BORDER]
    counts = np.bincount(real, minlength=text.vocab_size)
    low, num_positions = 0, 0
    for token, count in enumerate(counts.tolist()):
        if num_positions and num_positions + count > _POSITIONS_AT_ONCE:
            yield low, token
            low, num_positions = token, 0
        num_positions += count
    yield low, text.vocab_size


def _positions_of(text: TokenText, low: int, high: int) -> np.ndarray:
    """Return the positions of ids in [low, high) that have a right neighbour."""
    lefts, rights = text.slots[:-1], text.slots[1:]
    positions = np.flatnonzero((lefts >= low) & (lefts < high) & (rights != BORDER))
    return positions.astype(text.position_type)
