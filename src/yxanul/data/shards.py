"""Shards: the encoded documents of one source and split, memory-mapped, also while it grows."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.files import sha256_of
from yxanul.data.manifest import (
    Manifest,
    Outline,
    PartRecord,
    ShardEntry,
    Split,
    make_manifest,
    read_manifest,
    read_outline,
    read_record,
    shard_files,
    shard_sizes,
)
from yxanul.text.words import mixed

_SPARE_FILES = 256


def permutation(count: int, seed: int) -> np.ndarray:
    """Return a permutation of 0..count-1, the same for a `seed` on any machine: int64 [count].

    Numbers are sorted by a hash of theirs that is a bijection, so there are no ties.
    """
    numbers = np.arange(1, count + 1, dtype=np.uint64)
    return np.argsort(mixed(numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)))


def source_names(folder: Path) -> list[str]:
    """Return the names of the encoded sources in `folder`."""
    return sorted(path.parent.name for path in folder.glob("*/manifest.json"))


class Shard:
    """The encoded documents of one source slice in one split; ids are memory-mapped."""

    def __init__(self, folder: Path, number: int, entry: ShardEntry, dtype: str) -> None:
        """Check the sizes of the files in the split's `folder`."""
        self.files = shard_files(folder, number)
        self.entry = entry
        self.num_documents: int = entry.documents
        self.num_tokens: int = entry.tokens
        self._dtype = np.dtype(dtype).newbyteorder("<")
        if entry.tokens:
            self._check_sizes(shard_sizes(entry, dtype))

    @cached_property
    def ids(self) -> np.ndarray:
        """All ids, memory-mapped; the checksum is verified on first access."""
        path = self.files[".ids"]
        self._check_sum(".ids")
        try:
            return np.asarray(np.memmap(path, dtype=self._dtype, mode="r"))
        except OSError as error:
            raise YxanulError(f"{path} cannot be memory-mapped", got=error) from None

    @cached_property
    def starts(self) -> np.ndarray:
        """Start of each document, and the end of the last one: int64 [documents + 1]."""
        self._check_sum(".offsets")
        return np.fromfile(self.files[".offsets"], dtype="<u8").astype(np.int64)

    @cached_property
    def document_bytes(self) -> np.ndarray:
        """Size of each document's text in bytes of UTF-8: int64."""
        self._check_sum(".bytes")
        return np.fromfile(self.files[".bytes"], dtype="<u8").astype(np.int64)

    def _check_sum(self, suffix: str) -> None:
        path, expected = self.files[suffix], self.entry.sha256.get(suffix)
        if expected is not None and self.num_tokens and sha256_of(path) != expected:
            raise YxanulError(
                f"{path} is damaged",
                got="a wrong checksum",
                hint="delete it and run `yxanul prepare` with the run's recipe",
            )

    def _check_sizes(self, sizes: dict[str, int]) -> None:
        for suffix, path in self.files.items():
            size = path.stat().st_size if path.is_file() else None
            if size != sizes[suffix]:
                raise YxanulError(
                    f"{path} is {'missing' if size is None else 'damaged'}",
                    got=None if size is None else f"{size} bytes",
                    expected=f"{sizes[suffix]} bytes",
                    hint="run `yxanul prepare` with the run's recipe",
                )


class Shards:
    """All documents of a source and split, numbered across shards."""

    def __init__(
        self, folder: Path, manifest: Manifest, split: Split, parts: Sequence[int] | None = None
    ) -> None:
        """Open all shards, or only `parts`, in that order."""
        entry, header = manifest.splits[split], manifest.header
        self.folder, self.manifest = folder, manifest
        self.source: str = header.source
        self.split: Split = split
        self.synthetic: bool = manifest.synthetic
        self.vocab_size: int = header.vocab_size
        self.end_of_text_id: int = header.end_of_text_id
        self.tokenizer_digest: str = header.tokenizer
        self.num_parts: int = len(entry.shards)
        chosen = range(self.num_parts) if parts is None else parts
        allow_open_files(len(chosen))
        self._shards = {
            number: Shard(folder / split, number, entry.shards[number], header.dtype)
            for number in chosen
        }
        self._used = [shard for shard in self._shards.values() if shard.num_tokens]
        self.num_documents: int = sum(shard.num_documents for shard in self._used)
        self.num_tokens: int = sum(shard.num_tokens for shard in self._used)
        self.num_bytes: int = sum(shard.entry.bytes for shard in self._used)

    @classmethod
    def open(
        cls,
        folder: Path,
        source: str,
        split: Split,
        tokenizer_digest: str | None = None,
    ) -> Shards:
        """Open a split of a source; raise YxanulError unless its tokenizer has the given digest."""
        manifest = read_manifest(folder / source)
        if tokenizer_digest not in (None, manifest.header.tokenizer):
            raise YxanulError(
                f"'{source}' in {folder} was encoded with a different tokenizer",
                got=manifest.header.tokenizer[:12],
                expected=str(tokenizer_digest)[:12],
                hint="run `yxanul prepare` with this recipe, or use the other tokenizer",
            )
        return cls(folder / source, manifest, split)

    def shard(self, number: int) -> Shard:
        """Return shard `number`."""
        return self._shards[number]

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, eos included: int64."""
        return _concatenate(np.diff(shard.starts) for shard in self._used)

    @cached_property
    def document_bytes(self) -> np.ndarray:
        """Size of each document's text in bytes of UTF-8: int64."""
        return _concatenate(shard.document_bytes for shard in self._used)

    def sample(self, tokens: int, seed: int) -> list[int]:
        """Return numbers of documents drawn without replacement: as many as fit into `tokens`
        tokens, and at least one."""
        drawn = permutation(self.num_documents, seed)
        count = int(np.searchsorted(np.cumsum(self.lengths[drawn]), tokens, side="right"))
        return drawn[: max(1, count)].tolist()

    def document(self, number: int) -> np.ndarray:
        """Return the ids of one document, eos included: int64."""
        return self.piece(number, 0, int(self.lengths[number]))

    def piece(self, number: int, start: int, end: int) -> np.ndarray:
        """Return the ids [start, end) of one document: int64."""
        index = int(np.searchsorted(self._first_documents, number, side="right")) - 1
        shard = self._used[index]
        begin = int(shard.starts[number - self._first_documents[index]])
        return shard.ids[begin + start : begin + end].astype(np.int64)

    @cached_property
    def _first_documents(self) -> np.ndarray:
        """The number of each shard's first document."""
        counts = [shard.num_documents for shard in self._used]
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[:-1], dtype=np.int64)])


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


def allow_open_files(more: int) -> None:
    """Raise this process's soft limit on open files if necessary: each mapped file counts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = len(os.listdir("/dev/fd")) + more + _SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        needed = min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _concatenate(arrays: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *arrays])
