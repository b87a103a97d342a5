"""Encoded documents of one source and split, read from the disk as they are needed."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.files import sha256_of
from yxanul.data.manifest import (
    Manifest,
    ShardEntry,
    Split,
    read_manifest,
    shard_files,
    shard_sizes,
)
from yxanul.data.permutation import permutation

_SPARE_FILES = 256


def source_names(folder: Path) -> list[str]:
    """Return the names of the sources that lie encoded in `folder`."""
    return sorted(path.parent.name for path in folder.glob("*/manifest.json"))


class Shard:
    """The documents of one part; ids stay on the disk."""

    def __init__(self, folder: Path, number: int, entry: ShardEntry, dtype: str) -> None:
        """Look whether the files in the split's `folder` have the sizes that they should."""
        self.files = shard_files(folder, number)
        self.entry = entry
        self.num_documents: int = entry.documents
        self.num_tokens: int = entry.tokens
        self._dtype = np.dtype(dtype).newbyteorder("<")
        if entry.tokens:
            self._check_sizes(shard_sizes(entry, dtype))

    @cached_property
    def ids(self) -> np.ndarray:
        """All ids, mapped from the disk; the first time, the file is compared with its checksum."""
        path = self.files[".ids"]
        self._check_sum(".ids")
        try:
            return np.asarray(np.memmap(path, dtype=self._dtype, mode="r"))
        except OSError as error:
            raise YxanulError(f"{path} cannot be mapped", got=error) from None

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each document begins, and where the last one ends: int64."""
        self._check_sum(".offsets")
        return np.fromfile(self.files[".offsets"], dtype="<u8").astype(np.int64)

    @cached_property
    def document_bytes(self) -> np.ndarray:
        """How many bytes of UTF-8 each document's text had: int64."""
        self._check_sum(".bytes")
        return np.fromfile(self.files[".bytes"], dtype="<u8").astype(np.int64)

    def _check_sum(self, end: str) -> None:
        wanted = self.entry.sha256.get(end)
        if wanted is not None and self.num_tokens and sha256_of(self.files[end]) != wanted:
            raise _fault(self.files[end], "its checksum is wrong")

    def _check_sizes(self, wanted: dict[str, int]) -> None:
        for end, path in self.files.items():
            found = path.stat().st_size if path.is_file() else None
            if found != wanted[end]:
                raise YxanulError(
                    f"{path} is {'missing' if found is None else 'damaged'}",
                    got=None if found is None else f"{found} bytes",
                    expected=f"{wanted[end]} bytes",
                    hint="run yxanul prepare: it makes the file again",
                )


class Shards:
    """All documents of a source and split, as if in one file."""

    def __init__(
        self, folder: Path, manifest: Manifest, split: Split, parts: Sequence[int] | None = None
    ) -> None:
        """Open all parts, or some in an order of their own."""
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
        """Open a split of a source; with a digest, refuse ids of another tokenizer."""
        manifest = read_manifest(folder / source)
        if tokenizer_digest not in (None, manifest.header.tokenizer):
            raise YxanulError(
                f"'{source}' in {folder} was encoded with another tokenizer",
                got=manifest.header.tokenizer[:12],
                expected=str(tokenizer_digest)[:12],
                hint="run yxanul prepare, or use the tokenizer it was encoded with",
            )
        return cls(folder / source, manifest, split)

    def shard(self, number: int) -> Shard:
        """Return what part `number` became."""
        return self._shards[number]

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many tokens each document has, its end of text included: int64."""
        return _joined(np.diff(shard.starts) for shard in self._used)

    @cached_property
    def document_bytes(self) -> np.ndarray:
        """How many bytes of UTF-8 each document's text had: int64."""
        return _joined(shard.document_bytes for shard in self._used)

    def sample(self, tokens: int, seed: int) -> list[int]:
        """Return the numbers of documents drawn without replacement: as many as have at most so
        many tokens, and at least one."""
        drawn = permutation(self.num_documents, seed)
        count = int(np.searchsorted(np.cumsum(self.lengths[drawn]), tokens, side="right"))
        return drawn[: max(1, count)].tolist()

    def document(self, number: int) -> np.ndarray:
        """Return the ids of one document, its end of text included: int64."""
        return self.piece(number, 0, int(self.lengths[number]))

    def piece(self, number: int, start: int, end: int) -> np.ndarray:
        """Return the ids [start, end) of one document: int64."""
        place = int(np.searchsorted(self._first_documents, number, side="right")) - 1
        shard = self._used[place]
        begin = int(shard.starts[number - self._first_documents[place]])
        return shard.ids[begin + start : begin + end].astype(np.int64)

    @cached_property
    def _first_documents(self) -> np.ndarray:
        """The number of each shard's first document."""
        counts = [shard.num_documents for shard in self._used]
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[:-1], dtype=np.int64)])


def allow_open_files(more: int) -> None:
    """Raise this process's own limit if need be: every mapped file counts as an open one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/dev/fd")) + more + _SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _joined(pieces: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *pieces])


def _fault(path: Path, fault: str) -> YxanulError:
    return YxanulError(
        f"{path} is damaged",
        got=fault,
        hint="delete it and run yxanul prepare: it makes the file again",
    )
