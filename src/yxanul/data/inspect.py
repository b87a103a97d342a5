"""Inspect shards: the sources in a folder, their documents, and rows of the token stream."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from yxanul.base.errors import YxanulError
from yxanul.data.manifest import (
    DroppedSample,
    Manifest,
    PartRecord,
    Split,
    make_manifest,
    read_manifest,
    read_outline,
    read_record,
)
from yxanul.data.mix import Row
from yxanul.data.order import GROUP_TOKENS, TokenStream
from yxanul.data.partial_shards import PartialShards
from yxanul.data.shards import Shard, Shards

LAST_POSITION = 1 << 60
"""Highest valid stream position: streams are endless, but positions must fit into int64."""


class OneDocument(NamedTuple):
    """One encoded document of a source."""

    number: int
    part: int
    """Index of its source slice, and so of its shard."""
    ids: np.ndarray
    """Token ids, eos included, int64."""
    num_bytes: int
    """Size of its text in bytes of UTF-8."""


@dataclass(frozen=True)
class Encoded:
    """An encoded source: all of its shards, or those encoded so far."""

    folder: Path
    manifest: Manifest
    """Shards that are not encoded yet count as empty."""
    num_parts: int
    parts_done: int
    complete: bool
    """Whether the whole source is encoded."""

    @property
    def name(self) -> str:
        """The source's name."""
        return self.manifest.header.source

    def shard(self, split: Split, part: int) -> Shard:
        """Open a shard without verifying checksums, for callers that have verified them."""
        entry = self.manifest.splits[split].shards[part].model_copy(update={"sha256": {}})
        return Shard(self.folder / split, part, entry, self.manifest.header.dtype)

    def document(self, split: Split, number: int) -> OneDocument:
        """Return a document of a split; numbers run on from shard to shard."""
        first = 0
        for part, entry in enumerate(self.manifest.splits[split].shards):
            if 0 <= number - first < entry.documents:
                shard = Shard(self.folder / split, part, entry, self.manifest.header.dtype)
                start, end = shard.starts[number - first : number - first + 2].tolist()
                size = int(shard.document_bytes[number - first])
                return OneDocument(number, part, shard.ids[start:end].astype(np.int64), size)
            first += entry.documents
        raise YxanulError(
            f"source '{self.name}' has no document {number} in its {split} split",
            expected=f"0 to {first - 1:,}" if first else "another split; this one is empty",
        )

    def order(self, seed: int, group_tokens: int = GROUP_TOKENS) -> TokenStream:
        """Return the training stream that a run with this seed reads, as far as it is encoded."""
        if self.complete:
            return TokenStream(Shards(self.folder, self.manifest, "train"), seed, group_tokens)
        return TokenStream(partial_shards_of(self.folder), seed, group_tokens)

    def dropped(self) -> list[DroppedSample]:
        """Return the samples of dropped documents, sorted by cause."""
        if self.complete:
            return _read_samples(self.folder / "dropped.jsonl")
        records = _records(self.folder, self.num_parts).values()
        samples = [sample for record in records for sample in record.samples]
        return sorted(samples, key=lambda sample: sample.cause)


def source_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of the sources in `folder`, by name; `folder` may itself be a source."""
    if not folder.is_dir():
        got = "a file" if folder.is_file() else None
        raise YxanulError(f"folder {folder} not found", got=got)
    if _is_source(folder):
        return {name_of(folder): folder}
    sources = {path.name: path for path in sorted(folder.iterdir()) if _is_source(path)}
    if not sources:
        raise YxanulError(
            f"there are no shards in {folder}",
            expected="a run folder, a folder of encoded sources, or an encoded source",
            hint="create them with `yxanul prepare`",
        )
    return sources


def name_of(folder: Path) -> str:
    """Return the name of a folder, even of `.`; symbolic links are not resolved."""
    return os.path.basename(os.path.abspath(folder))


def open_encoded(folder: Path) -> Encoded:
    """Open a source's folder, fully encoded or not."""
    if (folder / "manifest.json").is_file() or not _is_source(folder):
        manifest = read_manifest(folder)
        num_parts = len(manifest.splits["train"].shards)
        return Encoded(folder, manifest, num_parts, num_parts, complete=True)
    outline = read_outline(folder)
    records = _records(folder, outline.num_parts)
    manifest = make_manifest(outline, records)
    return Encoded(folder, manifest, outline.num_parts, len(records), complete=False)


def partial_shards_of(folder: Path) -> PartialShards:
    """Return the training shards of a source; reading a missing one raises YxanulError."""

    def wait() -> None:
        raise YxanulError(
            f"source '{folder.name}' is not fully encoded, and a shard is missing",
            hint="run yxanul prepare",
        )

    return PartialShards(folder, "train", wait)


class Stretch(NamedTuple):
    """A contiguous span of one document within a row: attention does not cross its ends."""

    start: int
    """Index of its first token in the row."""
    ids: list[int]
    begins: bool
    """Whether the document begins here, rather than in an earlier row."""


@dataclass(frozen=True)
class StreamRow:
    """One row as the model reads it."""

    source: str
    position: int
    """Position of its first token in the stream of its source."""
    stretches: tuple[Stretch, ...]
    target: int
    """The token after the row: the target of its last position."""

    @property
    def ids(self) -> list[int]:
        """All ids of the row."""
        return [i for stretch in self.stretches for i in stretch.ids]


def stream_rows(
    order: TokenStream, source: str, position: int, seq_len: int, count: int
) -> list[StreamRow]:
    """Return consecutive rows of a source's training stream."""
    if seq_len < 1 or count < 1:
        raise YxanulError(
            "the rows are empty",
            got=f"{count} rows of {seq_len} tokens",
            expected="at least one row of at least one token",
        )
    _check_position(position, position + seq_len * count)
    ids, documents = order.read(position, seq_len * count + 1)
    rows = []
    for number in range(count):
        start, end = number * seq_len, (number + 1) * seq_len
        row = Row(source, position + start)
        target = int(ids[end])
        rows.append(cut_row(order, row, ids[start:end], documents[start:end], target))
    return rows


def cut_row(
    order: TokenStream, row: Row, ids: np.ndarray, documents: np.ndarray, target: int
) -> StreamRow:
    """Split a row at its document boundaries."""
    starts = [0, *(np.flatnonzero(np.diff(documents)) + 1).tolist()]
    ends = [*starts[1:], len(ids)]
    begins = [_begins_document(order, row.start), *[True] * (len(starts) - 1)]
    cuts = zip(starts, ends, begins, strict=True)
    stretches = tuple(Stretch(start, ids[start:end].tolist(), new) for start, end, new in cuts)
    return StreamRow(row.source, row.start, stretches, target)


def _begins_document(order: TokenStream, position: int) -> bool:
    if position == 0:
        return True
    before, here = order.read(position - 1, 2)[1].tolist()
    return before != here


def _check_position(first: int, last: int) -> None:
    if first < 0 or last > LAST_POSITION:
        raise YxanulError(
            "the position is outside the stream", got=first, expected=f"0 to {LAST_POSITION}"
        )


def _is_source(path: Path) -> bool:
    return any((path / name).is_file() for name in ("manifest.json", "outline.json"))


def _records(folder: Path, num_parts: int) -> dict[int, PartRecord]:
    """Return the records of the slices that are done."""
    records = {number: read_record(folder, number) for number in range(num_parts)}
    return {number: record for number, record in records.items() if record is not None}


def _read_samples(path: Path) -> list[DroppedSample]:
    try:
        lines: Sequence[str] = path.read_text(encoding="utf-8").split("\n")
        return [DroppedSample.model_validate(json.loads(line)) for line in lines if line]
    except FileNotFoundError:
        raise YxanulError(f"{path} is missing", hint="run yxanul prepare") from None
    except (ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise YxanulError(f"{path} is broken", got=reason, hint="run yxanul prepare") from None
