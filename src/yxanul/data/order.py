"""Shuffled document order of a source: a pure function of seed and position.

An epoch visits the source's shards in a random order, in groups of `group_tokens` tokens, and
shuffles documents within a group. So a group can be read as soon as its own shards are encoded,
in the same order as once all of them are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from yxanul.base.seeds import derive_seed
from yxanul.data.shards import Shard, permutation

GROUP_TOKENS = 1 << 25
_EPOCHS_KEPT = 2


class ShardSet(Protocol):
    """The shards of a source in one split; some may not be encoded yet."""

    source: str
    num_parts: int

    def shard(self, number: int) -> Shard:
        """Return shard `number`; block until it is encoded."""
        ...


class TokenStream:
    """Endless token stream over a source: each epoch is a new random order of all documents."""

    def __init__(self, parts: ShardSet, seed: int, group_tokens: int = GROUP_TOKENS) -> None:
        self.parts = parts
        self._seed = derive_seed(seed, "order", parts.source)
        self._group_tokens = group_tokens
        self._epochs: dict[int, _Epoch] = {}

    @cached_property
    def epoch_tokens(self) -> int:
        """Tokens in one epoch; blocks until every shard is encoded."""
        return sum(self.parts.shard(number).num_tokens for number in range(self.parts.num_parts))

    @property
    def is_empty(self) -> bool:
        """Whether no shard holds a token; blocks until one does or all are encoded."""
        return self._epoch(0).group_at(0) is None

    def read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return `count` token ids from position `start`, and the document number of each.

        Both are int64 [count]; document numbers keep increasing across epochs.
        """
        chunks: list[tuple[np.ndarray, np.ndarray]] = []
        end = start + count
        while start < end:
            group = self._group_at(start)
            here = min(end, group.end) - start
            chunks.append(group.read(start - group.start, here))
            start += here
        if len(chunks) == 1:
            return chunks[0]
        empty = np.zeros(0, np.int64)
        ids, documents = zip(*chunks, strict=True) if chunks else ([empty], [empty])
        return np.concatenate(ids), np.concatenate(documents)

    def epochs_before(self, position: int) -> int:
        """Return how many epochs end before a position, up to which tokens have been read."""
        if position == 0 or self._epoch(0).group_at(position - 1) is not None:
            return 0
        return position // self.epoch_tokens

    def _group_at(self, position: int) -> _Group:
        """Return the group at a position. Within the first epoch this reads no shard beyond it."""
        group = self._epoch(0).group_at(position)
        if group is None:
            group = self._epoch(position // self.epoch_tokens).group_at(position)
        assert group is not None
        return group

    def _epoch(self, number: int) -> _Epoch:
        if number not in self._epochs:
            later = [epoch for epoch in self._epochs if epoch]  # epoch 0 stays cached
            if len(later) >= _EPOCHS_KEPT:
                del self._epochs[later[0]]
            start = number * self.epoch_tokens if number else 0
            first_document = number * self._epoch_documents if number else 0
            shard_order = permutation(
                self.parts.num_parts, derive_seed(self._seed, number, "parts")
            )
            self._epochs[number] = _Epoch(
                self.parts, shard_order, derive_seed(self._seed, number), self._group_tokens,
                _Position(start, first_document),
            )  # fmt: skip
        return self._epochs[number]

    @cached_property
    def _epoch_documents(self) -> int:
        return sum(self.parts.shard(number).num_documents for number in range(self.parts.num_parts))


def first_order(num_parts: int, seed: int, source: str) -> np.ndarray:
    """Return a source's shard numbers in the order in which the first epoch reads them."""
    return permutation(num_parts, derive_seed(derive_seed(seed, "order", source), 0, "parts"))


class _Position(NamedTuple):
    """A token's position in the stream, and its document number."""

    token: int
    document: int


class _Epoch:
    """One pass over all shards, group by group."""

    def __init__(
        self, parts: ShardSet, order: np.ndarray, seed: int, group_tokens: int, start: _Position
    ) -> None:
        self._parts, self._order = parts, order.tolist()
        self._seed, self._group_tokens = seed, group_tokens
        self._groups: list[_Group] = []
        self._starts: list[int] = []
        self._gathered, self._end = 0, start
        self._last: _Group | None = None

    def group_at(self, position: int) -> _Group | None:
        """Return the group at a position, or None if the epoch ends before it."""
        while self._end.token <= position:
            if self._gathered == len(self._order):
                return None
            self._gather()
        group = self._groups[bisect_right(self._starts, position) - 1]
        if self._last is not None and group is not self._last:
            self._last.forget()
        self._last = group
        return group

    def _gather(self) -> None:
        """Add the next shards to a group until it holds `group_tokens` tokens."""
        shards: list[Shard] = []
        tokens = documents = 0
        for number in self._order[self._gathered :]:
            shards.append(self._parts.shard(number))
            tokens += shards[-1].num_tokens
            documents += shards[-1].num_documents
            if tokens >= self._group_tokens:
                break
        self._gathered += len(shards)
        if tokens:
            seed = derive_seed(self._seed, len(self._groups))
            self._groups.append(_Group(shards, seed, self._end, tokens))
            self._starts.append(self._end.token)
        self._end = _Position(self._end.token + tokens, self._end.document + documents)


class _Layout(NamedTuple):
    """Shuffled documents of a group: shard, start in the shard, and cumulative end of each."""

    shards: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class _Group:
    """Some shards whose documents are shuffled together."""

    def __init__(self, shards: Sequence[Shard], seed: int, start: _Position, tokens: int) -> None:
        self._shards = [shard for shard in shards if shard.num_tokens]
        self._seed, self._first_document = seed, start.document
        self.start, self.end = start.token, start.token + tokens

    def read(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return token ids and document numbers; only the first and last document may be cut."""
        layout = self._layout
        first = int(np.searchsorted(layout.ends, start, side="right"))
        last = int(np.searchsorted(layout.ends, start + count, side="left"))
        ends = layout.ends[first : last + 1]
        before = int(layout.ends[first - 1]) if first else 0
        counts = np.diff(ends, prepend=before)
        places = layout.starts[first : last + 1].copy()
        places[0] += start - before
        counts[0] -= start - before
        counts[-1] -= int(ends[-1]) - (start + count)
        ids = self._join(layout.shards[first : last + 1], places, counts)
        running = np.arange(first, last + 1) + self._first_document
        return ids, np.repeat(running, counts)

    def forget(self) -> None:
        """Free the cached layout."""
        self.__dict__.pop("_layout", None)

    @cached_property
    def _layout(self) -> _Layout:
        sizes = [shard.num_documents for shard in self._shards]
        documents = permutation(sum(sizes), self._seed)
        starts = np.concatenate([shard.starts[:-1] for shard in self._shards])[documents]
        lengths = np.concatenate([np.diff(shard.starts) for shard in self._shards])[documents]
        shards = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[documents]
        return _Layout(shards, starts, np.cumsum(lengths))

    def _join(self, shards: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Concatenate the tokens [start, start + count) of each run: int64."""
        ids = [shard.ids for shard in self._shards]
        if len(ids) == 1:
            ends = np.cumsum(counts)
            places = np.repeat(starts - (ends - counts), counts)
            places += np.arange(ends[-1])
            return ids[0][places].astype(np.int64)
        runs = zip(shards.tolist(), starts.tolist(), (starts + counts).tolist(), strict=True)
        return np.concatenate([ids[shard][start:end] for shard, start, end in runs], dtype=np.int64)
