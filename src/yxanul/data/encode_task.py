"""Encoding one slice of a source: the task of a worker process."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from yxanul.base.files import atomic_file, write_json
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
from yxanul.text.filters.length import token_bounds
from yxanul.text.prepare import prepared
from yxanul.tokenizer.end_of_text import END_OF_TEXT

_BATCH_CHARS = 1_000_000
_SAMPLES_PER_CAUSE = 3
_SAMPLE_CHARS = 300
HELD_OUT_SEPARATOR = f"\n{END_OF_TEXT}\n".encode()


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
        *_, held_out_file, record_file = self.outputs(folder)
        dropped = _DroppedDocuments()
        with contextlib.ExitStack() as files:
            writers: dict[Split, _ShardWriter] = {
                split: self._open_writer(files, folder, split) for split in SPLITS
            }
            held_out = _HeldOutText(files.enter_context(atomic_file(held_out_file)))
            for batch in _batches(self._documents(worker), dropped):
                _write(self._encoded(batch, worker, dropped), writers, held_out)
        record = PartRecord(
            key=self.key,
            part=self.part.name,
            fingerprint=self.part.fingerprint,
            held_out_below=1.0 if held_out.by_position else self.part.split.fraction,
            dropped=dict(sorted(dropped.counts.items())),
            samples=tuple(dropped.samples),
            shards={split: writer.entry() for split, writer in writers.items()},
        )
        write_json(record_file, record.model_dump(mode="json"))
        return record

    def _open_writer(self, files: contextlib.ExitStack, folder: Path, split: Split) -> _ShardWriter:
        paths = shard_files(folder / self.header.source / split, self.number)
        opened = {
            end: _HashedFile(files.enter_context(atomic_file(path))) for end, path in paths.items()
        }
        return _ShardWriter(opened, self.header)

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
            cause = copies.get(number) if copies else None
            number += 1
            yield Dropped(cause, item[1].id, item[1].text) if cause else item

    def _encoded(
        self, batch: Sequence[_SplitDocument], worker: Worker, dropped: _DroppedDocuments
    ) -> _Encoded:
        """Encode documents, and drop those with too few or too many tokens."""
        texts = [document.text for _, document in batch]
        ids, ends = worker.tokenizer.encode_documents(texts)
        lengths = np.diff(ends, prepend=0)
        least, most = token_bounds(self.settings.filters or ())
        small = lengths - 1 < (least or 0)
        big = lengths - 1 > most if most is not None else np.zeros_like(small)
        if small.any() or big.any():
            for index in np.flatnonzero(small | big).tolist():
                cause = "too_short" if small[index] else "too_big"
                dropped.add(Dropped(cause, batch[index][1].id, texts[index]))
            kept = ~(small | big)
            ids, lengths = ids[np.repeat(kept, lengths)], lengths[kept]
            batch = [item for item, keep in zip(batch, kept.tolist(), strict=True) if keep]
        return _Encoded(batch, ids, lengths)


_SplitDocument = tuple[Split, Document]


@dataclass(frozen=True)
class _Encoded:
    """Documents and their concatenated ids."""

    documents: Sequence[_SplitDocument]
    ids: np.ndarray
    lengths: np.ndarray


def _write(
    encoded: _Encoded,
    writers: Mapping[Split, _ShardWriter],
    held_out: _HeldOutText,
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
        held_out.by_position = True
    for index in np.flatnonzero(splits == "validation").tolist():
        held_out.add(raw[index])


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


class _DroppedDocuments:
    """Counts dropped documents, and keeps samples: the first of each cause."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: list[DroppedSample] = []

    def add(self, item: Dropped) -> None:
        self.counts[item.cause] += 1
        if self.counts[item.cause] <= _SAMPLES_PER_CAUSE:
            text = item.text[:_SAMPLE_CHARS]
            self.samples.append(DroppedSample(cause=item.cause, where=item.where, text=text))


class _HashedFile:
    """File wrapper that computes the SHA-256 of what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._sha256.update(data)

    def sha256(self) -> str:
        return self._sha256.hexdigest()


class _ShardWriter:
    """Writer for the files of one shard."""

    def __init__(self, files: dict[str, _HashedFile], header: Header) -> None:
        self._files = files
        self._dtype = np.dtype(header.dtype).newbyteorder("<")
        self._documents = self._tokens = self._bytes = self._chars = 0
        self._lengths = np.zeros(64, np.int64)
        self._files[".offsets"].write(bytes(8))

    def add(self, ids: np.ndarray, lengths: np.ndarray, sizes: np.ndarray, chars: int) -> None:
        """Append documents: concatenated ids, tokens and bytes of each, characters in total."""
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
        """Return the figures of all documents added."""
        return ShardEntry(
            documents=self._documents,
            tokens=self._tokens,
            bytes=self._bytes,
            chars=self._chars,
            lengths=tuple(np.trim_zeros(self._lengths, "b").tolist()),
            sha256={end: file.sha256() for end, file in self._files.items()},
        )


class _HeldOutText:
    """Writes texts to a file, with a separator between documents."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._separator = b""
        self.by_position = False
        """Whether some document was held out by its position rather than by its hash."""

    def add(self, text: bytes) -> None:
        self._file.write(self._separator + text)
        self._separator = HELD_OUT_SEPARATOR
