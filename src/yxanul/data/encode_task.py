"""Encoding one part of a source: the work of a worker process."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from yxanul.base.files import atomic_file, sync_folder, write_json
from yxanul.data.executor import WorkerContext
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
from yxanul.text.filters.length import token_bounds
from yxanul.text.prepare import prepared
from yxanul.tokenizer.end_of_text import END_OF_TEXT

_BATCH_CHARS = 1_000_000
_SAMPLES_A_CAUSE = 3
_SAMPLE_CHARS = 300
HELD_OUT_SEPARATOR = f"\n{END_OF_TEXT}\n".encode()


@dataclass(frozen=True)
class EncodeTask:
    """One part to encode, and everything that a worker has to know about it."""

    folder: Path
    """The source's folder."""
    number: int
    """Names the files: what they hold does not depend on who makes them."""
    part: SourceSlice
    settings: CommonSettings
    """The source's settings: it is opened from its name and these."""
    header: Header
    ngrams: Path | None = None
    """What benchmarks ask: documents that hold some of it are left out."""
    copies: Path | None = None
    """Which documents of the part are copies of others."""
    key: str = ""
    """The digest of all but the text that decides about the part."""

    def run(self, context: WorkerContext) -> PartRecord:
        """Write the shards of the part, its held-out text, and last the record that it is done."""
        unmark(record_path(self.folder, self.number))
        dropped = _DroppedDocuments()
        with contextlib.ExitStack() as files:
            writers: dict[Split, _ShardWriter] = {
                split: _open_writer(files, self, split) for split in SPLITS
            }
            held_out = _HeldOutText(files.enter_context(_held_out_file(self)))
            for batch in _batches(self._documents(context), dropped):
                _write(self._encoded(batch, context, dropped), writers, held_out, context)
        record = PartRecord(
            key=self.key,
            part=self.part.name,
            fingerprint=self.part.fingerprint,
            held_out_below=1.0 if held_out.by_place else self.part.split.fraction,
            dropped=dict(sorted(dropped.counts.items())),
            samples=tuple(dropped.samples),
            shards={split: writer.entry() for split, writer in writers.items()},
        )
        write_json(record_path(self.folder, self.number), record.model_dump(mode="json"))
        return record

    def _documents(self, context: WorkerContext) -> Iterator[_Marked | Dropped]:
        """Yield the documents that passed the filters, the copies among them dropped."""
        copies = read_copies(self.copies) if self.copies else None
        source = context.source(self.header.source, self.settings)
        filters = context.filters(self.header.source, self.settings, self.ngrams)
        number = 0
        for item in prepared(source, self.part, filters):
            if isinstance(item, Dropped):
                yield item
                continue
            cause = copies.get(number) if copies else None
            number += 1
            yield Dropped(cause, item[1].id, item[1].text) if cause else item

    def _encoded(
        self, batch: Sequence[_Marked], context: WorkerContext, dropped: _DroppedDocuments
    ) -> _Encoded:
        """Encode documents, and leave out those with too few tokens or too many."""
        texts = [document.text for _, document in batch]
        ids, ends = context.tokenizer.encode_documents(texts)
        lengths = np.diff(ends, prepend=0)
        least, most = token_bounds(self.settings.filters or ())
        small = lengths - 1 < (least or 0)
        big = lengths - 1 > most if most is not None else np.zeros_like(small)
        if small.any() or big.any():
            for place in np.flatnonzero(small | big).tolist():
                cause = "too_short" if small[place] else "too_big"
                dropped.add(Dropped(cause, batch[place][1].id, texts[place]))
            stays = ~(small | big)
            ids, lengths = ids[np.repeat(stays, lengths)], lengths[stays]
            batch = [item for item, stay in zip(batch, stays.tolist(), strict=True) if stay]
        return _Encoded(batch, ids, lengths)


_Marked = tuple[Split, Document]


@dataclass(frozen=True)
class _Encoded:
    """Some documents, and their ids in a row."""

    documents: Sequence[_Marked]
    ids: np.ndarray
    lengths: np.ndarray


def _write(
    encoded: _Encoded,
    writers: Mapping[Split, _ShardWriter],
    held_out: _HeldOutText,
    context: WorkerContext,
) -> None:
    """Append documents to the shards of their splits."""
    splits = np.array([split for split, _ in encoded.documents])
    texts = [document.text for _, document in encoded.documents]
    raw = [text.encode() for text in texts]
    chars = np.array([len(text) for text in texts], np.int64)
    sizes = np.array([len(text) for text in raw], np.int64)
    for split, writer in writers.items():
        mine = splits == split
        ids = encoded.ids if mine.all() else encoded.ids[np.repeat(mine, encoded.lengths)]
        writer.add(ids, encoded.lengths[mine], sizes[mine], int(chars[mine].sum()))
    if any(document.held_out is not None for _, document in encoded.documents):
        held_out.by_place = True
    for place in np.flatnonzero(splits == "validation").tolist():
        held_out.add(raw[place])
    context.count(documents=len(texts), tokens=len(encoded.ids), text_bytes=int(sizes.sum()))


def unmark(record: Path) -> None:
    """A record must never stand beside files that were made after it."""
    if record.exists():
        record.unlink()
        sync_folder(record.parent)


def _batches(
    items: Iterator[_Marked | Dropped], dropped: _DroppedDocuments
) -> Iterator[list[_Marked]]:
    """Yield documents in groups of about a megabyte; note in `dropped` what is left out."""
    batch: list[_Marked] = []
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


class _DroppedDocuments:
    """Counts what is left out, and keeps the first of each cause."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: list[DroppedSample] = []

    def add(self, item: Dropped) -> None:
        self.counts[item.cause] += 1
        if self.counts[item.cause] <= _SAMPLES_A_CAUSE:
            text = item.text[:_SAMPLE_CHARS]
            self.samples.append(DroppedSample(cause=item.cause, where=item.where, text=text))


class _HashedFile:
    """A file that knows the checksum of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._sha256.update(data)

    def sha256(self) -> str:
        return self._sha256.hexdigest()


class _ShardWriter:
    """Appends documents to the files of one shard."""

    def __init__(self, files: dict[str, _HashedFile], header: Header) -> None:
        self._files = files
        self._dtype = np.dtype(header.dtype).newbyteorder("<")
        self._documents = self._tokens = self._bytes = self._chars = 0
        self._lengths = np.zeros(64, np.int64)
        self._files[".offsets"].write(bytes(8))

    def add(self, ids: np.ndarray, lengths: np.ndarray, sizes: np.ndarray, chars: int) -> None:
        """Append documents: their ids in a row, tokens and bytes of each, characters of all."""
        if not len(lengths):
            return
        self._files[".ids"].write(ids.astype(self._dtype).data.cast("B"))
        ends = self._tokens + np.cumsum(lengths)
        self._files[".offsets"].write(ends.astype("<u8").tobytes())
        self._files[".bytes"].write(sizes.astype("<u8").tobytes())
        self._lengths += np.bincount(np.frexp(lengths)[1] - 1, minlength=64)
        self._documents += len(lengths)
        self._tokens = int(ends[-1])
        self._bytes += int(sizes.sum())
        self._chars += chars

    def entry(self) -> ShardEntry:
        """Return the figures of all that was added."""
        return ShardEntry(
            documents=self._documents,
            tokens=self._tokens,
            bytes=self._bytes,
            chars=self._chars,
            lengths=tuple(np.trim_zeros(self._lengths, "b").tolist()),
            sha256={end: file.sha256() for end, file in self._files.items()},
        )


class _HeldOutText:
    """Appends texts to a file, with a separator between two."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._separator = b""
        self.by_place = False
        """Whether the place of some document decided."""

    def add(self, text: bytes) -> None:
        self._file.write(self._separator + text)
        self._separator = HELD_OUT_SEPARATOR


def _open_writer(files: contextlib.ExitStack, task: EncodeTask, split: Split) -> _ShardWriter:
    opened = {
        end: _HashedFile(files.enter_context(atomic_file(path)))
        for end, path in shard_files(task.folder / split, task.number).items()
    }
    return _ShardWriter(opened, task.header)


def _held_out_file(task: EncodeTask) -> contextlib.AbstractContextManager[BinaryIO]:
    return atomic_file(held_out_path(task.folder, task.number))
