"""Encoding one part of a source: the work of a worker process."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from yxanul.base.files import atomic_file, sync_folder, write_json
from yxanul.data.manifest import (
    SPLITS,
    Header,
    PartRecord,
    ShardEntry,
    Split,
    held_out_path,
    record_path,
    shard_files,
)
from yxanul.text.config import CommonSettings
from yxanul.text.documents import Document, Part
from yxanul.text.prepare import prepared
from yxanul.text.sources import Source
from yxanul.tokenizer.end_of_text import END_OF_TEXT
from yxanul.tokenizer.tokenizer import Tokenizer

_BATCH_CHARS = 1_000_000
HELD_OUT_SEPARATOR = f"\n{END_OF_TEXT}\n".encode()


@dataclass(frozen=True)
class PartTask:
    """One part to encode, and everything that a worker has to know about it."""

    folder: Path
    """The source's folder."""
    number: int
    """Names the files: what they hold does not depend on who makes them."""
    part: Part
    settings: CommonSettings
    """The source's settings: it is opened from its name and these."""
    header: Header


def encode_part(task: PartTask, source: Source, tokenizer: Tokenizer) -> PartRecord:
    """Write the shards of one part, its held-out text, and last the record that it is done."""
    _unmark(record_path(task.folder, task.number))
    dropped: Counter[str] = Counter()
    with contextlib.ExitStack() as files:
        writers: dict[Split, _ShardWriter] = {
            split: _open_writer(files, task, split) for split in SPLITS
        }
        held_out = _HeldOutText(files.enter_context(_held_out_file(task)))
        for batch in _batches(source, task, dropped):
            ids = tokenizer.encode_batch([document.text for _, document in batch])
            for (split, document), row in zip(batch, ids, strict=True):
                text = document.text.encode()
                writers[split].add(row, len(text))
                if split == "validation":
                    held_out.add(text)
    record = PartRecord(
        key=task.header.key,
        part=task.part.name,
        fingerprint=task.part.fingerprint,
        dropped=dict(sorted(dropped.items())),
        shards={split: writer.entry() for split, writer in writers.items()},
    )
    write_json(record_path(task.folder, task.number), record.model_dump(mode="json"))
    return record


def _unmark(record: Path) -> None:
    """A record must never stand beside files that were made after it."""
    if record.exists():
        record.unlink()
        sync_folder(record.parent)


def _batches(
    source: Source, task: PartTask, dropped: Counter[str]
) -> Iterator[list[tuple[Split, Document]]]:
    """Yield documents in groups of about a megabyte; count in `dropped` what is left out."""
    batch: list[tuple[Split, Document]] = []
    chars = 0
    for item in prepared(source, task.part, task.header.validation_fraction):
        if not isinstance(item, tuple):
            dropped[item.cause] += 1
            continue
        batch.append(item)
        chars += len(item[1].text)
        if chars >= _BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


class _HashedFile:
    """A file that knows the checksum of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)

    def sha256(self) -> str:
        return self._sha256.hexdigest()


class _ShardWriter:
    """Appends documents to the files of one shard."""

    def __init__(self, files: dict[str, _HashedFile], header: Header) -> None:
        self._files = files
        self._dtype = np.dtype(header.dtype).newbyteorder("<")
        self._end_of_text_id = header.end_of_text_id
        self._documents = self._tokens = self._bytes = 0
        self._files[".offsets"].write(_uint64(0))

    def add(self, ids: list[int], text_bytes: int) -> None:
        """Append one document, and the end of text after it."""
        self._files[".ids"].write(
            np.asarray([*ids, self._end_of_text_id], dtype=self._dtype).tobytes()
        )
        self._documents += 1
        self._tokens += len(ids) + 1
        self._bytes += text_bytes
        self._files[".offsets"].write(_uint64(self._tokens))
        self._files[".bytes"].write(_uint64(text_bytes))

    def entry(self) -> ShardEntry:
        """Return the figures of all that was added."""
        return ShardEntry(
            documents=self._documents,
            tokens=self._tokens,
            bytes=self._bytes,
            sha256={end: file.sha256() for end, file in self._files.items()},
        )


class _HeldOutText:
    """Appends texts to a file, with a separator between two."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._separator = b""

    def add(self, text: bytes) -> None:
        self._file.write(self._separator + text)
        self._separator = HELD_OUT_SEPARATOR


def _open_writer(files: contextlib.ExitStack, task: PartTask, split: Split) -> _ShardWriter:
    opened = {
        end: _HashedFile(files.enter_context(atomic_file(path)))
        for end, path in shard_files(task.folder / split, task.number).items()
    }
    return _ShardWriter(opened, task.header)


def _held_out_file(task: PartTask) -> contextlib.AbstractContextManager[BinaryIO]:
    return atomic_file(held_out_path(task.folder, task.number))


def _uint64(value: int) -> bytes:
    return value.to_bytes(8, "little")
