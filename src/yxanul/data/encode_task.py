"""Encoding one slice of a source: the task of a worker process."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file, sha256_of, write_json
from yxanul.data.executor import Worker
from yxanul.data.manifest import (
    SPLITS,
    DroppedSample,
    Header,
    PartRecord,
    ShardEntry,
    Split,
    held_out_path,
    record_path,
    shard_files,
)
from yxanul.text.config import CommonSettings
from yxanul.text.dedup.copies import read_copies
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.filters.columns import token_bounds
from yxanul.text.prepare import prepared
from yxanul.tokenizer.tokenizer_config import END_OF_TEXT

_BATCH_CHARS = 1_000_000
_SAMPLES_PER_CAUSE = 3
_SAMPLE_CHARS = 300
HELD_OUT_SEPARATOR = f"\n{END_OF_TEXT}\n".encode()

_SplitDocument = tuple[Split, Document]


@dataclass(frozen=True)
class EncodeTask:
    """Task: encode one slice."""

    number: int
    """The slice's index, which names its files."""
    part: SourceSlice
    settings: CommonSettings
    """The source's settings: a worker opens the source from its name and these."""
    header: Header
    ngrams: str | None = None
    """N-gram file of the benchmarks: documents that contain one are dropped."""
    copies: str | None = None
    """File that lists the slice's duplicate documents."""
    key: str = ""
    """Digest of everything but the text that determines the output."""

    def outputs(self, folder: Path) -> list[Path]:
        """Return the files of the slice; the last one is its record."""
        source = folder / self.header.source
        shards = [shard_files(source / split, self.number).values() for split in SPLITS]
        record = record_path(source, self.number)
        return [*chain.from_iterable(shards), held_out_path(source, self.number), record]

    def run(self, worker: Worker, folder: Path) -> PartRecord:
        """Write the slice's shards and held-out text, and last the record that marks it done."""
        source, dropped, by_position = folder / self.header.source, _DroppedDocuments(), False
        with contextlib.ExitStack() as files:
            shards: dict[Split, _ShardWriter] = {
                split: _ShardWriter(files, source / split, self) for split in SPLITS
            }
            held_out = files.enter_context(atomic_file(held_out_path(source, self.number)))
            for batch in _batches(self._documents(worker), dropped):
                documents, ids, lengths = self._encoded(batch, worker, dropped)
                splits = np.array([split for split, _ in documents])
                texts = [document.text for _, document in documents]
                for split, shard in shards.items():
                    shard.add(ids, lengths, texts, splits == split)
                for index in np.flatnonzero(splits == "validation").tolist():
                    held_out.write(HELD_OUT_SEPARATOR if held_out.tell() else b"")
                    held_out.write(texts[index].encode())
                by_position |= any(document.held_out is not None for _, document in documents)
        record = PartRecord(
            key=self.key,
            part=self.part.name,
            fingerprint=self.part.fingerprint,
            held_out_below=1.0 if by_position else self.part.split.fraction,
            dropped=dict(sorted(dropped.counts.items())),
            samples=tuple(dropped.samples),
            shards={split: shard.entry() for split, shard in shards.items()},
        )
        write_json(record_path(source, self.number), record.model_dump(mode="json"))
        return record

    def _documents(self, worker: Worker) -> Iterator[_SplitDocument | Dropped]:
        """Yield the documents that pass the filters, and Dropped for all others and duplicates."""
        copies = read_copies(worker.file(self.copies)) if self.copies else None
        source = worker.source(self.header.source, self.settings)
        filters = worker.filters(self.header.source, self.settings, self.ngrams)
        number = 0
        for item in prepared(source, self.part, filters):
            if isinstance(item, Dropped):
                yield item
                continue
            if copies is not None and number == len(copies):
                raise YxanulError(
                    f"'{self.part.name}' changed after duplicates were searched for",
                    got=f"more than the {number:,} documents it had then",
                    hint="run the command again when the text and its filters no longer change",
                )
            cause = copies[number] if copies else None
            number += 1
            yield Dropped(cause, item[1].id, item[1].text) if cause else item

    def _encoded(
        self, batch: list[_SplitDocument], worker: Worker, dropped: _DroppedDocuments
    ) -> tuple[list[_SplitDocument], np.ndarray, np.ndarray]:
        """Return documents, their concatenated ids, and the number of ids of each; drop those with
        too few or too many tokens."""
        ids, ends = worker.tokenizer.encode_documents([document.text for _, document in batch])
        lengths = np.diff(ends, prepend=0)
        least, most = token_bounds(self.settings.filters)
        small = lengths - 1 < least
        kept = ~small & (lengths - 1 <= most)
        if kept.all():
            return batch, ids, lengths
        for index in np.flatnonzero(~kept).tolist():
            cause, (_, document) = "too_short" if small[index] else "too_big", batch[index]
            dropped.add(Dropped(cause, document.id, document.text))
        batch = [item for item, keep in zip(batch, kept.tolist(), strict=True) if keep]
        return batch, ids[np.repeat(kept, lengths)], lengths[kept]


def _batches(
    items: Iterator[_SplitDocument | Dropped], dropped: _DroppedDocuments
) -> Iterator[list[_SplitDocument]]:
    """Yield documents in groups of about a million characters; add Dropped items to `dropped`."""
    batch: list[_SplitDocument] = []
    chars = 0
    for item in items:
        if isinstance(item, Dropped):
            dropped.add(item)
            continue
        batch.append(item)
        chars += len(item[1].text)
        if chars >= _BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


@dataclass
class _DroppedDocuments:
    """Counts dropped documents, and keeps samples: the first of each cause."""

    counts: Counter[str] = field(default_factory=Counter)
    samples: list[DroppedSample] = field(default_factory=list)

    def add(self, item: Dropped) -> None:
        self.counts[item.cause] += 1
        if self.counts[item.cause] <= _SAMPLES_PER_CAUSE:
            text = item.text[:_SAMPLE_CHARS]
            self.samples.append(DroppedSample(cause=item.cause, where=item.where, text=text))


class _ShardWriter:
    """Writer for the files of one shard."""

    def __init__(self, files: contextlib.ExitStack, folder: Path, task: EncodeTask) -> None:
        self._paths = shard_files(folder, task.number)
        self._files: dict[str, BinaryIO] = {
            suffix: files.enter_context(atomic_file(path)) for suffix, path in self._paths.items()
        }
        self._dtype = np.dtype(task.header.dtype).newbyteorder("<")
        self._documents = self._tokens = self._bytes = self._chars = 0
        self._lengths = np.zeros(64, np.int64)
        self._files[".offsets"].write(bytes(8))

    def add(
        self, ids: np.ndarray, lengths: np.ndarray, texts: Sequence[str], mine: np.ndarray
    ) -> None:
        """Append the documents that are `mine`: concatenated ids of all, number of ids of each."""
        if not mine.any():
            return
        if not mine.all():
            ids, lengths = ids[np.repeat(mine, lengths)], lengths[mine]
            texts = [texts[index] for index in np.flatnonzero(mine).tolist()]
        sizes = np.array([len(text.encode()) for text in texts], "<u8")
        ends = self._tokens + np.cumsum(lengths)
        self._files[".ids"].write(ids.astype(self._dtype).data.cast("B"))
        self._files[".offsets"].write(ends.astype("<u8").tobytes())
        self._files[".bytes"].write(sizes.tobytes())
        self._lengths += np.bincount(np.frexp(lengths)[1] - 1, minlength=64)
        self._documents += len(lengths)
        self._tokens = int(ends[-1])
        self._bytes += int(sizes.sum())
        self._chars += sum(map(len, texts))

    def entry(self) -> ShardEntry:
        """Return the figures and checksums of the files, which are complete."""
        return ShardEntry(
            documents=self._documents,
            tokens=self._tokens,
            bytes=self._bytes,
            chars=self._chars,
            lengths=tuple(np.trim_zeros(self._lengths, "b").tolist()),
            sha256={suffix: sha256_of(path) for suffix, path in self._paths.items()},
        )
