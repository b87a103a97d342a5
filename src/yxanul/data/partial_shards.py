"""Shards of a source that is still being encoded; reads block until a shard is ready."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from yxanul.data.manifest import (
    Outline,
    PartRecord,
    Split,
    make_manifest,
    read_outline,
    read_record,
)
from yxanul.data.shards import Shard, Shards, allow_open_files


class PartialShards:
    """The shards of one split of a source, opened as they are encoded."""

    def __init__(self, folder: Path, split: Split, wait: Callable[[], None]) -> None:
        """Read the source's outline; `wait` sleeps between polls, or raises if no more shards will
        come."""
        self.outline: Outline = read_outline(folder)
        self.source: str = self.outline.header.source
        self.num_parts: int = self.outline.num_parts
        self._folder, self._wait = folder, wait
        self._split: Split = split
        self._shards: dict[int, Shard] = {}
        allow_open_files(self.num_parts)

    def shard(self, number: int) -> Shard:
        """Return shard `number`; block until it is encoded."""
        if number not in self._shards:
            entry, dtype = self._record(number).shards[self._split], self.outline.header.dtype
            self._shards[number] = Shard(self._folder / self._split, number, entry, dtype)
        return self._shards[number]

    def first_held_out(self, order: Sequence[int], group_tokens: int, tokens: int) -> Shards:
        """Return the held-out shards of the slices that `sampled_parts` chooses; block until they
        are encoded."""
        records: dict[int, PartRecord] = {}

        def tokens_of(number: int, split: Split) -> int:
            if number not in records:
                records[number] = self._record(number)
            return records[number].shards[split].tokens

        chosen = sampled_parts(order, tokens_of, group_tokens, tokens)
        manifest = make_manifest(self.outline, records)
        return Shards(self._folder, manifest, "validation", chosen)

    def _record(self, number: int) -> PartRecord:
        while (record := read_record(self._folder, number)) is None:
            self._wait()
        return record


def sampled_parts(
    order: Sequence[int], tokens_of: Callable[[int, Split], int], group_tokens: int, tokens: int
) -> list[int]:
    """Return the shortest prefix of `order` with at least `group_tokens` training tokens and more
    than `tokens` held-out ones; evaluation during training samples from these slices."""
    train = held_out = count = 0
    while count < len(order) and (train < group_tokens or held_out <= tokens):
        train += tokens_of(order[count], "train")
        held_out += tokens_of(order[count], "validation")
        count += 1
    return list(order[:count])
