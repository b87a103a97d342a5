"""Inspect shards: the sources in a folder, their documents, and rows of the token stream."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
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
from yxanul.data.shards import PartialShards, Shard, Shards

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
    parts_done: int
    complete: bool
    """Whether the whole source is encoded."""

    @property
    def name(self) -> str:
        """The source's name."""
        return self.manifest.header.source

    @property
    def num_parts(self) -> int:
        """Number of slices, encoded or not."""
        return len(self.manifest.splits["train"].shards)

    def records(self) -> dict[int, PartRecord]:
        """Return the records of the slices that have a valid one."""
        return _records(self.folder, self.num_parts)

    def shard(self, split: Split, part: int) -> Shard:
        """Open a shard without verifying checksums, for callers that have verified them."""
        entry = self.manifest.splits[split].shards[part].model_copy(update={"sha256": {}})
        return Shard(self.folder / split, part, entry, self.manifest.header.dtype)

    @cached_property
    def first_documents(self) -> dict[Split, list[int]]:
        """The number of each shard's first document, and the number of documents, by split."""
        return {
            split: list(accumulate((shard.documents for shard in entry.shards), initial=0))
            for split, entry in self.manifest.splits.items()
        }

    def document(self, split: Split, number: int) -> OneDocument:
        """Return a document of a split; numbers run on from shard to shard."""
        firsts = self.first_documents[split]
        if not 0 <= number < firsts[-1]:
            raise YxanulError(
                f"source '{self.name}' has no document {number} in its {split} split",
                expected=f"0 to {firsts[-1] - 1:,}"
                if firsts[-1]
                else "another split; this one is empty",
            )
        part = bisect_right(firsts, number) - 1
        shards, local = Shards(self.folder, self.manifest, split, [part]), number - firsts[part]
        return OneDocument(number, part, shards.document(local), int(shards.document_bytes[local]))

    def order(self, seed: int, group_tokens: int = GROUP_TOKENS) -> TokenStream:
        """Return the training stream that a run with this seed reads, as far as it is encoded."""
        if self.complete:
            return TokenStream(Shards(self.folder, self.manifest, "train"), seed, group_tokens)

        def wait() -> None:
            raise YxanulError(
                f"source '{self.folder.name}' is not fully encoded, and a shard is missing",
                hint="run `yxanul prepare` with its recipe",
            )

        return TokenStream(PartialShards(self.folder, "train", wait), seed, group_tokens)

    def dropped(self) -> list[DroppedSample]:
        """Return the samples of dropped documents, sorted by cause."""
        if self.complete:
            return _read_samples(self.folder / "dropped.jsonl")
        samples = [sample for record in self.records().values() for sample in record.samples]
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
        return Encoded(folder, manifest, len(manifest.splits["train"].shards), complete=True)
    outline = read_outline(folder)
    records = _records(folder, outline.num_parts)
    return Encoded(folder, make_manifest(outline, records), len(records), complete=False)


class DocumentSpan(NamedTuple):
    """A contiguous span of one document within a row."""

    start: int
    """Index of its first token in the row."""
    ids: list[int]
    begins: bool
    """Whether the document begins here, rather than in an earlier row."""


class StreamRow(NamedTuple):
    """One row as the model reads it."""

    row: Row
    spans: tuple[DocumentSpan, ...]
    target: int
    """The token after the row: the target of its last position."""


def stream_rows(
    order: TokenStream, source: str, position: int, seq_len: int, count: int
) -> list[StreamRow]:
    """Return consecutive rows of a source's training stream."""
    if position < 0 or position + seq_len * count > LAST_POSITION:
        raise YxanulError(
            "the position is outside the stream", got=position, expected=f"0 to {LAST_POSITION}"
        )
    starts = (position + number * seq_len for number in range(count))
    return [read_row(order, Row(source, start), seq_len) for start in starts]


def read_row(order: TokenStream, row: Row, seq_len: int) -> StreamRow:
    """Read a row, and split it at its document boundaries."""
    before = min(1, row.start)  # the token before the row tells whether a document begins with it
    ids, documents = order.read(row.start - before, before + seq_len + 1)
    row_ids = ids[before:].tolist()
    begins = np.diff(documents, prepend=-1)[before:-1] != 0
    starts = [0, *(np.flatnonzero(begins[1:]) + 1).tolist()]
    spans = tuple(
        DocumentSpan(start, row_ids[start:end], bool(begins[start]))
        for start, end in pairwise([*starts, seq_len])
    )
    return StreamRow(row, spans, row_ids[-1])


def _is_source(path: Path) -> bool:
    return any((path / name).is_file() for name in ("manifest.json", "outline.json"))


def _records(folder: Path, num_parts: int) -> dict[int, PartRecord]:
    """Return the records of the slices that are done."""
    records = {number: read_record(folder, number) for number in range(num_parts)}
    return {number: record for number, record in records.items() if record is not None}


def _read_samples(path: Path) -> list[DroppedSample]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [DroppedSample.model_validate(json.loads(line)) for line in lines if line]
    except FileNotFoundError:
        raise YxanulError(
            f"{path} is missing", hint="run `yxanul prepare` with its recipe"
        ) from None
    except (ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise YxanulError(
            f"{path} is damaged", got=reason, hint="run `yxanul prepare` with its recipe"
        ) from None
