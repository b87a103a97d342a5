"""Verify encoded sources: read every file and report every fault."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.ui import ProgressTask, Ui
from yxanul.data.held_out import held_out_faults
from yxanul.data.inspect import Encoded, name_of, open_encoded
from yxanul.data.manifest import (
    SPLITS,
    Header,
    Outline,
    PartRecord,
    ShardEntry,
    Split,
    make_manifest,
    read_outline,
    read_record,
    record_path,
    shard_files,
    shard_sizes,
)
from yxanul.data.shards import Shard
from yxanul.tokenizer.tokenizer import Tokenizer

_CHUNK_BYTES = 1 << 22
_CHUNK_TOKENS = 1 << 21


class Fault(NamedTuple):
    """One fault, and the file or folder that has it."""

    where: Path
    what: str


@dataclass
class Check:
    """Result of verifying one source."""

    documents: int = 0
    tokens: int = 0
    files: int = 0
    """Number of intact files."""
    with_text: bool = False
    """Whether a tokenizer was available, so that held-out text was compared with its ids."""
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Observations that are not faults."""


Tokenizers = Callable[[Header], Tokenizer | None]
"""Returns the tokenizer that a source was encoded with, or None if unavailable."""


def verify_sources(folders: Mapping[str, Path], tokenizers: Tokenizers, ui: Ui) -> dict[str, Check]:
    """Verify every file of every source.

    Held-out documents are searched for in the training splits of all sources with the same
    tokenizer and validation fraction: there, equal texts belong to the same split.
    """
    checks = {name: Check() for name in folders}
    opened: dict[str, Encoded] = {}
    for name, folder in folders.items():
        try:
            opened[name] = open_encoded(folder)
        except YxanulError as error:
            checks[name].faults.append(Fault(folder, str(error)))
    held_out = _HeldOut()
    for source in opened.values():
        held_out.gather(source)
    for name, source in opened.items():
        try:
            tokenizer = tokenizers(source.manifest.header)
        except YxanulError as error:
            checks[name].faults.append(Fault(folders[name], str(error)))
            tokenizer = None
        _Verification(source, tokenizer, held_out, checks[name]).run(ui)
    return checks


class _HeldOut:
    """Index of the held-out documents of all sources, by digest of their ids."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, float], dict[bytes, tuple[str, int]]] = {}
        self.by_position: set[str] = set()

    def gather(self, source: Encoded) -> None:
        """Index the held-out documents of a source; unreadable shards are reported elsewhere."""
        known = self.of(source.manifest.header)
        first = 0
        for index, entry in enumerate(source.manifest.splits["validation"].shards):
            shard = _sound_shard(source, "validation", index)
            for number, digest in enumerate(_digests(shard), first):
                known.setdefault(digest, (source.name, number))
            first += entry.documents
            record = read_record(source.folder, index)
            if record is not None and record.held_out_below == 1:
                self.by_position.add(source.name)

    def of(self, header: Header) -> dict[bytes, tuple[str, int]]:
        """Return (source, document) by digest, of sources with the same tokenizer and fraction."""
        return self._known.setdefault((header.tokenizer, header.validation_fraction), {})


class _Verification:
    """Verification of one source."""

    def __init__(
        self, source: Encoded, tokenizer: Tokenizer | None, held_out: _HeldOut, check: Check
    ) -> None:
        self.source, self.tokenizer, self.check = source, tokenizer, check
        self.header = source.manifest.header
        self.folder = source.folder
        self._known, self._by_position = held_out.of(self.header), held_out.by_position
        self._leaks: dict[str, list[tuple[int, int]]] = {}
        self._damaged: set[tuple[Split, int]] = set()
        check.with_text = tokenizer is not None
        self._is_copy = (self.folder / "fetched.json").is_file()
        if self._is_copy:
            check.notes.append("verified local copies of remote shards")

    def run(self, ui: Ui) -> None:
        """Verify all files."""
        if self.header.source != name_of(self.folder):
            self._fault(self.folder, f"it contains the shards of '{self.header.source}'")
        records = self._records()
        total = sum(sum(sizes.values()) for *_, sizes in self._shards(records))
        with ui.task(f"verify {self.source.name}", total, "B") as bar:
            number = dict.fromkeys(SPLITS, 0)
            for split, index, entry, _ in self._shards(records):
                self._check_shard(split, index, entry, number[split], bar)
                number[split] += entry.documents
        self._report_leaks()
        self._check_dropped()
        if self._is_copy:
            return
        parts = [
            number
            for number in range(self.source.num_parts)
            if self.source.complete or number in records
        ]
        sound = [number for number in parts if ("validation", number) not in self._damaged]
        for where, what in held_out_faults(self.source, parts, sound, self.tokenizer):
            self._fault(where, what)

    def _shards(
        self, records: Mapping[int, PartRecord]
    ) -> Iterator[tuple[Split, int, ShardEntry, dict[str, int]]]:
        """Yield (split, number, figures, file sizes) of every shard that should exist."""
        for split in SPLITS:
            for number, entry in enumerate(self.source.manifest.splits[split].shards):
                if number in records or (
                    self.source.complete and (entry.tokens or not self._is_copy)
                ):
                    yield split, number, entry, shard_sizes(entry, self.header.dtype)

    def _records(self) -> dict[int, PartRecord]:
        """Return the records, and compare the manifest with them; fetched copies have none."""
        source, records = self.source, {}
        if self._is_copy:
            return records
        for number in range(source.num_parts):
            record = read_record(self.folder, number)
            path = record_path(self.folder, number)
            if record is not None:
                records[number] = record
            elif source.complete or path.exists():
                self._fault(path, "it is broken" if path.exists() else "it is missing")
        if not source.complete:
            self._fault(
                self.folder,
                f"it is incomplete: {source.parts_done} of {source.num_parts} shards are encoded;"
                " run yxanul prepare",
            )
        elif len(records) == source.num_parts:
            self._compare(records)
        return records

    def _compare(self, records: Mapping[int, PartRecord]) -> None:
        """Check that the manifest is the sum of the records, and matches the outline."""
        manifest = self.source.manifest
        outline = Outline(
            header=self.header, synthetic=manifest.synthetic, num_parts=self.source.num_parts
        )
        if make_manifest(outline, records) != manifest:
            self._fault(self.folder / "manifest.json", "it is not the sum of the records in parts/")
        try:
            if read_outline(self.folder) != outline:
                self._fault(self.folder / "outline.json", "it does not match the manifest")
        except YxanulError as error:
            self._fault(self.folder / "outline.json", str(error))

    def _check_shard(
        self, split: Split, index: int, entry: ShardEntry, first: int, bar: ProgressTask
    ) -> None:
        """Verify the files of one shard; `first` is the number of its first document."""
        files = shard_files(self.folder / split, index)
        sizes = shard_sizes(entry, self.header.dtype)
        faults = {
            path: _file_fault(path, sizes[suffix], entry.sha256.get(suffix), bar)
            for suffix, path in files.items()
        }
        for path, fault in faults.items():
            if fault is not None:
                self._fault(path, fault)
                self._damaged.add((split, index))
        self.check.files += sum(fault is None for fault in faults.values())
        self.check.documents += entry.documents
        self.check.tokens += entry.tokens
        # Content faults of a damaged file add nothing.
        if (split, index) in self._damaged or not entry.tokens:
            return
        shard = self.source.shard(split, index)
        in_order = True
        for suffix, what in _content_faults(shard, self.header):
            in_order = in_order and suffix != ".offsets"
            self._fault(files[suffix], what)
        if split == "train" and in_order and self._known:
            self._find_leaks(shard, first)

    def _find_leaks(self, shard: Shard, first: int) -> None:
        for number, digest in enumerate(_digests(shard), first):
            if digest in self._known:
                source, document = self._known[digest]
                self._leaks.setdefault(source, []).append((number, document))

    def _report_leaks(self) -> None:
        """Report held-out documents in the training split: a fault, unless documents are held out
        by position, or the tokenizer maps different texts to the same ids."""
        for source, pairs in self._leaks.items():
            number, document = pairs[0]
            what = (
                f"{len(pairs):,} training documents have the same ids as held-out ones, such as"
                f" document {number} and held-out document {document} of '{source}'"
            )
            if self.tokenizer is not None and not _is_lossless(self.tokenizer):
                self.check.notes.append(
                    f"{what}; this tokenizer maps different texts to the same ids"
                )
            elif source in self._by_position:
                self.check.notes.append(
                    f"{what}: passages are held out by position, so repeated text can be in both"
                    " splits; data.deduplicate removes it"
                )
            else:
                self._fault(self.folder / "train", what)

    def _check_dropped(self) -> None:
        """Check that samples of dropped documents are readable, and match the counted causes."""
        try:
            causes = {sample.cause for sample in self.source.dropped()}
        except YxanulError as error:
            self._fault(self.folder / "dropped.jsonl", str(error))
            return
        if causes != {cause for cause, count in self.source.manifest.dropped.items() if count}:
            self._fault(self.folder / "dropped.jsonl", "its causes do not match the manifest")

    def _fault(self, where: Path, what: str) -> None:
        self.check.faults.append(Fault(where, what))


def _file_fault(path: Path, size_bytes: int, sha256: str | None, bar: ProgressTask) -> str | None:
    """Read a file and return its fault, if any."""
    try:
        found_bytes = path.stat().st_size
        if found_bytes != size_bytes:
            bar.advance(size_bytes)
            return f"it has {found_bytes:,} bytes instead of {size_bytes:,}"
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                bar.advance(len(chunk))
    except FileNotFoundError:
        bar.advance(size_bytes)
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return None if digest.hexdigest() == sha256 else "its checksum is wrong"


def _content_faults(shard: Shard, header: Header) -> Iterator[tuple[str, str]]:
    """Yield (file suffix, fault) for faults that checksums do not reveal."""
    ids, starts, entry = shard.ids, shard.starts, shard.entry
    highest, ends = 0, 0
    for at in range(0, len(ids), _CHUNK_TOKENS):
        chunk = ids[at : at + _CHUNK_TOKENS]
        highest = max(highest, int(chunk.max()))
        ends += int(np.count_nonzero(chunk == header.end_of_text_id))
    if highest >= header.vocab_size:
        yield ".ids", f"it contains the id {highest}; expected ids below {header.vocab_size}"
    lengths = np.diff(starts)
    if starts[0] != 0 or starts[-1] != entry.tokens or np.any(lengths <= 0):
        yield ".offsets", "its document offsets are not increasing"
        return
    unterminated = int(np.count_nonzero(ids[starts[1:] - 1] != header.end_of_text_id))
    if unterminated:
        yield ".ids", f"{unterminated:,} documents do not end with eos"
    inside = ends - (entry.documents - unterminated)
    if inside:
        yield ".ids", f"{inside:,} eos tokens are inside documents"
    if int(shard.document_bytes.sum()) != entry.bytes:
        yield ".bytes", f"document sizes do not add up to the {entry.bytes:,} bytes in the manifest"
    histogram = np.trim_zeros(np.bincount(np.frexp(lengths)[1] - 1, minlength=1), "b")
    if entry.lengths and histogram.tolist() != list(entry.lengths):
        yield ".offsets", "document lengths do not match the manifest"


def _sound_shard(source: Encoded, split: Split, index: int) -> Shard | None:
    """Return a shard if its offsets are valid, or None."""
    try:
        shard = source.shard(split, index)
    except YxanulError:
        return None
    if not shard.num_tokens:
        return None
    starts = shard.starts
    sound = starts[0] == 0 and starts[-1] == shard.num_tokens and np.all(np.diff(starts) > 0)
    return shard if sound else None


def _digests(shard: Shard | None) -> Iterator[bytes]:
    """Yield a digest of every document's ids."""
    if shard is None:
        return
    content, size = shard.ids.data.cast("B"), shard.ids.itemsize
    starts = (shard.starts * size).tolist()
    for start, end in pairwise(starts):
        document = content[start:end]
        yield hashlib.blake2b(document, digest_size=12).digest()


def _is_lossless(tokenizer: Tokenizer) -> bool:
    """Tell whether different texts always have different ids (no lossy normalization)."""
    plain = json.loads(tokenizer.to_json())
    before = json.dumps(plain.get("pre_tokenizer"))
    return (
        tokenizer.is_byte_level
        and plain.get("normalizer") is None
        and '"add_prefix_space": true' not in before
    )
