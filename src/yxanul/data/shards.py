"""Encoded documents of one source and split, read from the disk as they are needed."""

from __future__ import annotations

import os
import resource
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

_SPARE_FILES = 256


def source_names(folder: Path) -> list[str]:
    """Return the names of the sources that lie encoded in `folder`."""
    return sorted(path.parent.name for path in folder.glob("*/manifest.json"))


class Shards:
    """All documents of a source and split, as if in one file; ids stay on the disk."""

    def __init__(self, folder: Path, manifest: Manifest, split: Split) -> None:
        entry = manifest.splits[split]
        self.folder, self.manifest = folder, manifest
        self.source: str = manifest.header.source
        self.split: Split = split
        self.synthetic: bool = manifest.synthetic
        self.vocab_size: int = manifest.header.vocab_size
        self.end_of_text_id: int = manifest.header.end_of_text_id
        self.tokenizer_digest: str = manifest.header.tokenizer
        self.num_documents: int = entry.documents
        self.num_tokens: int = entry.tokens
        self.num_bytes: int = entry.bytes
        self._dtype = manifest.header.dtype
        self._entries = {n: shard for n, shard in enumerate(entry.shards) if shard.tokens}
        self._check_sizes()
        self._maps = self._map_ids()
        tokens = [shard.tokens for shard in self._entries.values()]
        self._shard_starts: np.ndarray = np.concatenate([[0], np.cumsum(tokens, dtype=np.int64)])

    @classmethod
    def open(
        cls, folder: Path, source: str, split: Split, tokenizer_digest: str | None = None
    ) -> Shards:
        """Open a split of a source; with a digest, refuse ids of another tokenizer."""
        manifest = read_manifest(folder / source)
        if tokenizer_digest not in (None, manifest.header.tokenizer):
            raise YxanulError(
                f"'{source}' in {folder} was encoded with another tokenizer",
                found=manifest.header.tokenizer[:12],
                wanted=str(tokenizer_digest)[:12],
                hint="run yxanul prepare, or use the tokenizer it was encoded with",
            )
        return cls(folder / source, manifest, split)

    @cached_property
    def starts(self) -> np.ndarray:
        """Where each document begins, counted in tokens over all shards, and the end: int64."""
        pieces = [np.zeros(1, np.int64)]
        for start, number in zip(self._shard_starts, self._entries, strict=False):
            offsets = np.fromfile(self._files(number)[".offsets"], dtype="<u8")
            pieces.append(offsets[1:].astype(np.int64) + start)
        return np.concatenate(pieces)

    @property
    def lengths(self) -> np.ndarray:
        """How many tokens each document has, its end of text included: int64."""
        return np.diff(self.starts)

    @cached_property
    def document_bytes(self) -> np.ndarray:
        """How many bytes of UTF-8 each document's text had: int64."""
        pieces = [np.fromfile(self._files(n)[".bytes"], dtype="<u8") for n in self._entries]
        return np.concatenate([np.zeros(0, "<u8"), *pieces]).astype(np.int64)

    def document(self, number: int) -> np.ndarray:
        """Return the ids of one document, its end of text included: int64."""
        start, end = self.starts[number : number + 2].tolist()
        return self.piece(number, 0, end - start)

    def piece(self, number: int, start: int, end: int) -> np.ndarray:
        """Return the ids [start, end) of one document: int64."""
        return self.join(self.starts[number : number + 1] + start, np.array([end - start]))

    def join(self, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the tokens [start, start + count) of each run, one after the other: int64.

        No run may reach from one shard into another.
        """
        if len(self._maps) == 1:
            ends = np.cumsum(counts)
            places = np.repeat(starts - (ends - counts), counts)
            places += np.arange(ends[-1])
            return self._maps[0][places].astype(np.int64)
        shards = np.searchsorted(self._shard_starts, starts, side="right") - 1
        local = starts - self._shard_starts[shards]
        runs = zip(shards.tolist(), local.tolist(), counts.tolist(), strict=True)
        pieces = [self._maps[shard][start : start + count] for shard, start, count in runs]
        return np.concatenate(pieces, dtype=np.int64)

    def verify(self) -> None:
        """Read everything: checksums, ids within the vocabulary, documents that end as they
        should; raise at the first fault."""
        for place, (number, entry) in enumerate(self._entries.items()):
            for end, path in self._files(number).items():
                if sha256_of(path) != entry.sha256[end]:
                    raise self._fault(path, "its checksum is wrong")
            path = self._files(number)[".ids"]
            ids = self._maps[place]
            if int(ids.max()) >= self.vocab_size:
                raise self._fault(path, f"it holds an id of {self.vocab_size} or more")
            offsets = np.fromfile(self._files(number)[".offsets"], dtype="<u8").astype(np.int64)
            self._verify_offsets(path, ids, offsets, entry)
        if self.num_tokens != self._shard_starts[-1] or self.num_documents != sum(
            entry.documents for entry in self._entries.values()
        ):
            raise self._fault(self.folder, "the manifest's totals are not those of its shards")

    def _verify_offsets(
        self, path: Path, ids: np.ndarray, offsets: np.ndarray, entry: ShardEntry
    ) -> None:
        if offsets[0] != 0 or offsets[-1] != entry.tokens or np.any(np.diff(offsets) <= 0):
            raise self._fault(path.with_suffix(".offsets"), "its documents do not follow in order")
        if np.any(ids[offsets[1:] - 1] != self.end_of_text_id):
            raise self._fault(path, "a document does not end with the end of text")

    def _check_sizes(self) -> None:
        for number, entry in self._entries.items():
            wanted = shard_sizes(entry, self._dtype)
            for end, path in self._files(number).items():
                found = path.stat().st_size if path.is_file() else None
                if found != wanted[end]:
                    raise YxanulError(
                        f"{path} is {'missing' if found is None else 'damaged'}",
                        found=None if found is None else f"{found} bytes",
                        wanted=f"{wanted[end]} bytes",
                        hint="run yxanul prepare: it makes the file again",
                    )

    def _map_ids(self) -> list[np.ndarray]:
        _allow_open_files(len(self._entries))
        dtype = np.dtype(self._dtype).newbyteorder("<")
        paths = [self._files(number)[".ids"] for number in self._entries]
        try:
            return [np.asarray(np.memmap(path, dtype=dtype, mode="r")) for path in paths]
        except OSError as error:
            raise YxanulError(
                f"the {len(paths)} shards of '{self.source}' cannot be mapped", found=error
            ) from None

    def _files(self, number: int) -> dict[str, Path]:
        return shard_files(self.folder / self.split, number)

    def _fault(self, path: Path, fault: str) -> YxanulError:
        return YxanulError(
            f"{path} is damaged",
            found=fault,
            hint="delete its source's folder and run yxanul prepare",
        )


def _allow_open_files(more: int) -> None:
    """Raise this process's own limit if need be: every mapped file counts as an open one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/dev/fd")) + more + _SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
