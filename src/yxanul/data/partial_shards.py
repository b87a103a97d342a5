"""Shards of a source that is still being encoded: each part is waited for when it is needed."""

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
    """The parts of one split of a source, as they come."""

    def __init__(self, folder: Path, split: Split, wait: Callable[[], None]) -> None:
        """Read what the source is going to become; `wait` passes some time, or raises when no
        more parts will come."""
        self.outline: Outline = read_outline(folder)
        self.source: str = self.outline.header.source
        self.num_parts: int = self.outline.num_parts
        self._folder, self._wait = folder, wait
        self._split: Split = split
        self._shards: dict[int, Shard] = {}
        allow_open_files(self.num_parts)

    def shard(self, number: int) -> Shard:
        """Return what part `number` became; wait until it is there."""
        if number not in self._shards:
            entry, dtype = self._record(number).shards[self._split], self.outline.header.dtype
            self._shards[number] = Shard(self._folder / self._split, number, entry, dtype)
        return self._shards[number]

    def first_held_out(self, order: Sequence[int], group_tokens: int, tokens: int) -> Shards:
        """Return the held-out documents of the parts that `sampled_parts` chooses, as soon as
        these are there."""
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
    """Return the first parts in `order` that make a group of training tokens and have more than so
    many held-out ones: what is scored during training is a sample of these."""
    train = held_out = place = 0
    while place < len(order) and (train < group_tokens or held_out <= tokens):
        train += tokens_of(order[place], "train")
        held_out += tokens_of(order[place], "validation")
        place += 1
    return list(order[:place])
