"""The order in which a source's documents are read: a pure function of seed and position."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from yxanul.base.seeds import derive_seed
from yxanul.data.shards import Shards

_EPOCHS_KEPT = 2


class _Epoch(NamedTuple):
    """One pass over all documents: in which order, and where each begins in it."""

    documents: np.ndarray
    ends: np.ndarray


class SourceOrder:
    """An endless stream of tokens: all documents in one random order, then in another, ..."""

    def __init__(self, shards: Shards, seed: int) -> None:
        self.shards = shards
        self._seed = derive_seed(seed, "order", shards.source)
        self._epochs: dict[int, _Epoch] = {}

    @property
    def epoch_tokens(self) -> int:
        """Tokens until every document was read once."""
        return self.shards.num_tokens

    def read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `count` tokens from position `start` on, and to which document each belongs.

        Both are int64 [count]; documents are numbered on and on, epoch after epoch.
        """
        pieces: list[tuple[np.ndarray, np.ndarray]] = []
        end = start + count
        while start < end:
            epoch, inside = divmod(start, self.epoch_tokens)
            here = min(end - start, self.epoch_tokens - inside)
            pieces.append(self._read_epoch(epoch, inside, here))
            start += here
        if len(pieces) == 1:
            return pieces[0]
        empty = np.zeros(0, np.int64)
        ids, documents = zip(*pieces, strict=True) if pieces else ([empty], [empty])
        return np.concatenate(ids), np.concatenate(documents)

    def _read_epoch(self, number: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Read within one epoch: whole documents, but for a cut first and last one."""
        epoch = self._epoch(number)
        end = start + count
        first = int(np.searchsorted(epoch.ends, start, side="right"))
        last = int(np.searchsorted(epoch.ends, end, side="left"))
        documents = epoch.documents[first : last + 1]
        places = self.shards.starts[documents]
        lengths = self.shards.starts[documents + 1] - places
        ends = epoch.ends[first : last + 1]
        skip = start - (int(ends[0]) - int(lengths[0]))
        counts = lengths.copy()
        counts[0] -= skip
        places[0] += skip
        counts[-1] -= int(ends[-1]) - end
        running = np.arange(first, last + 1) + number * self.shards.num_documents
        return self.shards.join(places, counts), np.repeat(running, counts)

    def _epoch(self, number: int) -> _Epoch:
        if number not in self._epochs:
            while len(self._epochs) >= _EPOCHS_KEPT:
                del self._epochs[next(iter(self._epochs))]
            documents = permutation(self.shards.num_documents, derive_seed(self._seed, number))
            self._epochs[number] = _Epoch(documents, np.cumsum(self.shards.lengths[documents]))
        return self._epochs[number]


def permutation(count: int, seed: int) -> np.ndarray:
    """Return 0..count-1 in an order that depends on `seed` alone, on any machine: int64 [count].

    Every number is given a key by the mixing function of SplitMix64 (Steele et al. 2014), which
    maps no two numbers to one key, so that sorting the keys leaves no choice.
    """
    with np.errstate(over="ignore"):
        keys = np.arange(1, count + 1, dtype=np.uint64)
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        keys ^= keys >> np.uint64(31)
    return np.argsort(keys)
