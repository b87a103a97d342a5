"""What is written beside the tokens: for each part that is done, and for a whole source."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json, write_json
from yxanul.base.settings import Settings

SCHEMA_VERSION = 2

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")

_OUTLINE = "outline.json"
_KINDS_OF_FILE = (".ids", ".offsets", ".bytes")


class Header(Settings):
    """Everything but the text itself that decides which tokens a source becomes."""

    schema_version: int = SCHEMA_VERSION
    """The version of the layout."""
    source: str
    """The source's name."""
    settings: str
    """The digest of the source's settings, its filters among them."""
    comparison: str = ""
    """The digest of what else drops documents: benchmarks looked for, copies removed."""
    validation_fraction: float
    """The share that is held out."""
    tokenizer: str
    """The tokenizer's digest."""
    vocab_size: int
    """Every id is below it."""
    end_of_text_id: int
    """The id that ends every document."""
    dtype: Literal["uint16", "uint32"]
    """How an id is stored, little endian."""

    @property
    def key(self) -> str:
        """A digest of all this."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class ShardEntry(Settings):
    """The figures of one shard: one part's documents of one split."""

    documents: int
    """Documents in it."""
    tokens: int
    """Tokens in it, the ends of text included."""
    bytes: int
    """Bytes of UTF-8 that the text had."""
    chars: int = 0
    """Characters that the text had."""
    lengths: tuple[int, ...] = ()
    """At place n, how many documents have 2^n to 2^(n+1) - 1 tokens."""
    sha256: dict[str, str]
    """Checksum of each file, by the end of its name."""


_NOTHING = ShardEntry(documents=0, tokens=0, bytes=0, sha256={})


class DroppedSample(Settings):
    """A document that was left out, for people to look at."""

    cause: str
    """Why."""
    where: str
    """Its name, or its place."""
    text: str
    """How it begins."""


class PartRecord(Settings):
    """The mark that a part is done, written last."""

    key: str
    """The digest of all but the text that decided about it."""
    part: str
    """The part's name."""
    fingerprint: str
    """What the part's content looked like."""
    held_out_below: float | None = None
    """At which fraction a hash held a document out; 1 where its place did, None: the header's."""
    dropped: dict[str, int]
    """Documents left out, by cause."""
    samples: tuple[DroppedSample, ...] = ()
    """The first of them, by cause."""
    shards: dict[Split, ShardEntry]
    """What it became."""


class SplitEntry(Settings):
    """The figures of one split of a source, and its shards in order."""

    documents: int
    """Documents in all shards."""
    tokens: int
    """Tokens in all shards."""
    bytes: int
    """Bytes of text in all shards."""
    chars: int = 0
    """Characters of text in all shards."""
    lengths: tuple[int, ...] = ()
    """At place n, how many documents have 2^n to 2^(n+1) - 1 tokens."""
    shards: tuple[ShardEntry, ...]
    """Shard number n lies under shard_name(n)."""


class Manifest(Settings):
    """What a whole source became, written when all its parts are done."""

    header: Header
    """What it was made under."""
    synthetic: bool
    """Whether the text is made up by rules."""
    dropped: dict[str, int]
    """Documents left out, by cause."""
    splits: dict[Split, SplitEntry] = Field(min_length=len(SPLITS))
    """Training and validation."""


class Outline(Settings):
    """What a source is going to become, written before its first part is encoded."""

    header: Header
    """What it is made under."""
    synthetic: bool
    """Whether the text is made up by rules."""
    num_parts: int
    """How many parts it has."""


def shard_name(number: int) -> str:
    """Return the name of a part's files, without its end."""
    return f"{number:05d}"


def shard_files(folder: Path, number: int) -> dict[str, Path]:
    """Return the files of a shard in the split's `folder`, by the end of their names."""
    return {end: folder / f"{shard_name(number)}{end}" for end in _KINDS_OF_FILE}


def shard_sizes(entry: ShardEntry, dtype: str) -> dict[str, int]:
    """Return how many bytes each file of a shard must have."""
    ids_bytes = entry.tokens * np.dtype(dtype).itemsize
    return {
        ".ids": ids_bytes,
        ".offsets": 8 * (entry.documents + 1),
        ".bytes": 8 * entry.documents,
    }


def make_manifest(outline: Outline, records: Mapping[int, PartRecord]) -> Manifest:
    """Sum the records of the parts up; a part without a record counts as empty."""
    dropped: Counter[str] = Counter()
    for record in records.values():
        dropped.update(record.dropped)
    return Manifest(
        header=outline.header,
        synthetic=outline.synthetic,
        dropped=dict(sorted(dropped.items())),
        splits={
            split: _sum_split(
                [
                    records[number].shards[split] if number in records else _NOTHING
                    for number in range(outline.num_parts)
                ]
            )
            for split in SPLITS
        },
    )


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a source's `folder`; a missing or foreign one is an error."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise YxanulError(
            f"the source '{folder.name}' is not encoded, or not to its end",
            got=f"no {path}",
            hint="run yxanul prepare",
        )
    return parse_manifest(read_json(path), path)


def parse_manifest(content: object, path: Path) -> Manifest:
    """Return the manifest whose plain content stood in the file `path`."""
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise YxanulError(f"{path} is broken", got=f"{where}: {first['msg']}") from None
    if manifest.header.schema_version != SCHEMA_VERSION:
        raise YxanulError(
            f"{path} is of another version of yxanul",
            got=f"version {manifest.header.schema_version}",
            expected=f"version {SCHEMA_VERSION}",
            hint="run yxanul prepare",
        )
    return manifest


def write_outline(folder: Path, outline: Outline) -> Path:
    """Write down what a source is going to become; return where."""
    write_json(folder / _OUTLINE, outline.model_dump(mode="json"))
    return folder / _OUTLINE


def read_outline(folder: Path) -> Outline:
    """Read what a source is going to become; it is there before any part is."""
    try:
        return Outline.model_validate(read_json(folder / _OUTLINE))
    except ValidationError as error:
        raise YxanulError(f"{folder / _OUTLINE} is broken", got=error.errors()[0]) from None


def read_record(folder: Path, number: int) -> PartRecord | None:
    """Return the record of a part, or None if there is none that is sound."""
    try:
        return PartRecord.model_validate(read_json(record_path(folder, number)))
    except (YxanulError, ValidationError):
        return None


def is_done(
    folder: Path,
    number: int,
    record: PartRecord,
    dtype: str,
    size_of: Callable[[Path], int | None],
) -> bool:
    """Tell whether all files of a part are there as its record says."""
    for split, entry in record.shards.items():
        files, sizes = shard_files(folder / split, number), shard_sizes(entry, dtype)
        if not all(size_of(files[end]) == sizes[end] for end in sizes):
            return False
    return size_of(held_out_path(folder, number)) is not None


def record_path(folder: Path, number: int) -> Path:
    """Return where the mark that part `number` is done lies."""
    return folder / "parts" / f"{shard_name(number)}.json"


def held_out_path(folder: Path, number: int) -> Path:
    """Return where the held-out text of part `number` lies."""
    return folder / "validation" / f"{shard_name(number)}.txt"


def _sum_split(entries: list[ShardEntry]) -> SplitEntry:
    return SplitEntry(
        documents=sum(entry.documents for entry in entries),
        tokens=sum(entry.tokens for entry in entries),
        bytes=sum(entry.bytes for entry in entries),
        chars=sum(entry.chars for entry in entries),
        lengths=tuple(map(sum, zip_longest(*(entry.lengths for entry in entries), fillvalue=0))),
        shards=tuple(entries),
    )
