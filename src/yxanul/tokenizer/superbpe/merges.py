"""Stage two of a SuperBPE: merges go on where white space is no border any more.

A reference implementation would count all pairs anew after every merge. This one gives the same
merges, because of two facts. Two tokens that are old lose occurrences as a pair and never gain any:
a count that was true once is an upper bound, so a pair is looked at again only when it comes to the
top. And only pairs with the newest token are new: they are counted where the merge took place.
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
"""Less its count, left and right id, and a list whose next pair it is or the pair's places."""


class StageTwo:
    """Merges the commonest pair of a text again and again; among equals that of lower ids."""

    def __init__(self, text: TokenText, tokens: Sequence[bytes]) -> None:
        """Take a text of tokens, and what each id of them stands for."""
        self.text = text
        self.tokens = list(tokens)
        self._known = set(tokens)
        self._queue: list[Entry] = []
        self._offer(first_pairs(text))

    def merges(self, vocab_size: int, task: ProgressTask) -> list[Merge]:
        """Merge until there are `vocab_size` tokens or no pair is left; return the merges."""
        done: list[Merge] = []
        while len(self.tokens) < vocab_size and (found := self._commonest()) is not None:
            left, right, starts = found
            done.append((left, right))
            self._merge(left, right, starts)
            task.advance(1)
        return done

    def _commonest(self) -> tuple[int, int, np.ndarray] | None:
        """Return the pair to merge next and the places it stands at, or None."""
        while self._queue:
            less_count, left, right, source = heapq.heappop(self._queue)
            if isinstance(source, PairList):
                places = source.take()
                self._offer(source)
            else:
                places = source
            if not self._allowed(left, right):
                continue
            places = self.text.still_at(left, right, places)
            if len(places) == -less_count:
                return left, right, places
            if len(places) >= MIN_COUNT:
                heapq.heappush(self._queue, (-len(places), left, right, places))
        return None

    def _allowed(self, left: int, right: int) -> bool:
        """Tell whether the pair may ever be merged; what is no superword never may.

        Nor may a second way to a token that is there already: it would add nothing to the
        vocabulary, and encoding, which applies old merges first, would no longer follow us.
        """
        token = self.tokens[left] + self.tokens[right]
        return token not in self._known and may_be_superword(token)

    def _merge(self, left: int, right: int, places: np.ndarray) -> None:
        new, token = len(self.tokens), self.tokens[left] + self.tokens[right]
        self.tokens.append(token)
        self._known.add(token)
        starts = self.text.merge(left, right, places, new)
        self._offer(pairs_with(self.text, new, starts))

    def _offer(self, pairs: PairList) -> None:
        if (head := pairs.head()) is not None:
            heapq.heappush(self._queue, (*head, pairs))
