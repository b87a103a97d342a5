"""Stage two of SuperBPE training: merges that may cross white space.

A naive implementation would recount all pairs after every merge. This one gives the same merges
because of two invariants. A pair of old tokens only loses occurrences: an earlier count is an upper
bound, so a pair is recounted only when it reaches the top of the queue. And only pairs with the
newest token are new: they are counted at the positions of its merge.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from yxanul.base.ui import ProgressTask
from yxanul.tokenizer.pre_tokenizers import may_be_superword
from yxanul.tokenizer.superbpe.pair_counts import MIN_COUNT, PairList, first_pairs, pairs_with
from yxanul.tokenizer.superbpe.token_array import TokenText

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
            positions = self.text.still_at(left, right, positions)
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
