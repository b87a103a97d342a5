"""Verify encoded sources: read every file and report every fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.files import sha256_of
from yxanul.base.ui import ProgressTask, Ui
from yxanul.data.held_out import digests, held_out_faults, index_held_out
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
    record_path,
    shard_files,
    shard_sizes,
)
from yxanul.data.shards import Shard
from yxanul.tokenizer.tokenizer import Tokenizer

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

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        return {
            "ok": not self.faults,
            "documents": self.documents,
            "tokens": self.tokens,
            "files": self.files,
            "with_tokenizer": self.with_text,
            "faults": [{"where": str(fault.where), "fault": fault.what} for fault in self.faults],
            "notes": self.notes,
        }


Tokenizers = Callable[[Header], Tokenizer | None]
"""Returns the tokenizer that a source was encoded with, or None if unavailable."""


def verify_sources(folders: Mapping[str, Path], tokenizers: Tokenizers, ui: Ui) -> dict[str, Check]:
    """Verify every file of every source.

    Held-out documents are searched for in the training splits of all sources.
    """
    checks = {name: Check() for name in folders}
    opened: dict[str, Encoded] = {}
    for name, folder in folders.items():
        try:
            opened[name] = open_encoded(folder)
        except YxanulError as error:
            checks[name].faults.append(Fault(folder, str(error)))
    held_out = index_held_out(opened.values())
    for name, source in opened.items():
        tokenizer = None
        try:
            tokenizer = tokenizers(source.manifest.header)
        except YxanulError as error:
            checks[name].faults.append(Fault(folders[name], str(error)))
        _Verification(source, tokenizer, held_out, checks[name]).run(ui)
    return checks


class _Verification:
    """Verification of one source."""

    def __init__(
        self,
        source: Encoded,
        tokenizer: Tokenizer | None,
        held_out: Mapping[bytes, tuple[Encoded, int]],
        check: Check,
    ) -> None:
        self.source, self.tokenizer, self.check = source, tokenizer, check
        self.folder, self.header = source.folder, source.manifest.header
        self.held_out = held_out
        self.leaks: dict[str, list[tuple[int, Encoded, int]]] = {}
        """Training document, and source and number of the equal held-out one, by its source."""
        self.damaged: set[tuple[Split, int]] = set()
        self.is_copy = (self.folder / "fetched.json").is_file()
        check.with_text = tokenizer is not None

    def run(self, ui: Ui) -> None:
        """Verify all files."""
        if self.header.source != name_of(self.folder):
            self.fault(self.folder, f"it contains the shards of '{self.header.source}'")
        records: dict[int, PartRecord] = {}
        if self.is_copy:
            self.check.notes.append("verified local copies of remote shards")
        else:
            records = self.source.records()
            self.check_records(records)
        shards: list[tuple[Split, int, ShardEntry]] = [
            (split, number, entry)
            for split in SPLITS
            for number, entry in enumerate(self.source.manifest.splits[split].shards)
            if number in records or (self.source.complete and (entry.tokens or not self.is_copy))
        ]
        total = sum(sum(shard_sizes(entry, self.header.dtype).values()) for *_, entry in shards)
        with ui.task(f"verify {self.source.name}", total, "B") as bar:
            first = dict.fromkeys(SPLITS, 0)
            for split, number, entry in shards:
                self.check_shard(split, number, entry, first[split], bar)
                first[split] += entry.documents
        self.report_leaks()
        self.check_dropped()
        if not self.is_copy:
            damaged = {number for split, number in self.damaged if split == "validation"}
            for where, what in held_out_faults(self.source, records, damaged, self.tokenizer):
                self.fault(where, what)

    def check_records(self, records: Mapping[int, PartRecord]) -> None:
        """Check that every slice has a record, and the manifest is their sum."""
        source = self.source
        for number in range(source.num_parts):
            path = record_path(self.folder, number)
            if number not in records and (source.complete or path.exists()):
                self.fault(path, "it is broken" if path.exists() else "it is missing")
        if not source.complete:
            self.fault(
                self.folder,
                f"it is incomplete: {source.parts_done} of {source.num_parts} shards are encoded;"
                " run yxanul prepare",
            )
        elif len(records) == source.num_parts:
            self.compare_manifest(records)

    def compare_manifest(self, records: Mapping[int, PartRecord]) -> None:
        """Check that the manifest is the sum of the records, and matches the outline."""
        manifest = self.source.manifest
        outline = Outline(
            header=self.header, synthetic=manifest.synthetic, num_parts=self.source.num_parts
        )
        if make_manifest(outline, records) != manifest:
            self.fault(self.folder / "manifest.json", "it is not the sum of the records in parts/")
        try:
            if read_outline(self.folder) != outline:
                self.fault(self.folder / "outline.json", "it does not match the manifest")
        except YxanulError as error:
            self.fault(self.folder / "outline.json", str(error))

    def check_shard(
        self, split: Split, part: int, entry: ShardEntry, first: int, bar: ProgressTask
    ) -> None:
        """Verify the files of one shard; `first` is the number of its first document."""
        files = shard_files(self.folder / split, part)
        for suffix, size_bytes in shard_sizes(entry, self.header.dtype).items():
            fault = _file_fault(files[suffix], size_bytes, entry.sha256.get(suffix))
            bar.advance(size_bytes)
            if fault is None:
                self.check.files += 1
            else:
                self.fault(files[suffix], fault)
                self.damaged.add((split, part))
        self.check.documents += entry.documents
        self.check.tokens += entry.tokens
        # Content faults of a damaged file add nothing.
        if (split, part) in self.damaged or not entry.tokens:
            return
        for suffix, what in _content_faults(self.source.shard(split, part), self.header):
            self.fault(files[suffix], what)
        if split == "train" and self.held_out:
            for number, digest in enumerate(digests(self.source, split, part), first):
                if digest in self.held_out:
                    source, document = self.held_out[digest]
                    self.leaks.setdefault(source.name, []).append((number, source, document))

    def report_leaks(self) -> None:
        """Report held-out documents in the training split: a fault, unless documents are held out
        by position, or the tokenizer maps different texts to the same ids."""
        for name, leaks in self.leaks.items():
            number, source, document = leaks[0]
            what = (
                f"{len(leaks):,} training documents have the same ids as held-out ones, such as"
                f" document {number} and held-out document {document} of '{name}'"
            )
            if self.tokenizer is not None and not _is_lossless(self.tokenizer):
                self.check.notes.append(
                    f"{what}; this tokenizer maps different texts to the same ids"
                )
            elif any(record.held_out_below == 1 for record in source.records().values()):
                self.check.notes.append(
                    f"{what}: passages are held out by position, so repeated text can be in both"
                    " splits; data.deduplicate removes it"
                )
            else:
                self.fault(self.folder / "train", what)

    def check_dropped(self) -> None:
        """Check that samples of dropped documents are readable, and match the counted causes."""
        path = self.folder / "dropped.jsonl"
        try:
            causes = {sample.cause for sample in self.source.dropped()}
        except YxanulError as error:
            self.fault(path, str(error))
            return
        if causes != {cause for cause, count in self.source.manifest.dropped.items() if count}:
            self.fault(path, "its causes do not match the manifest")

    def fault(self, where: Path, what: str) -> None:
        """Note a fault."""
        self.check.faults.append(Fault(where, what))


def _file_fault(path: Path, size_bytes: int, sha256: str | None) -> str | None:
    """Read a file and return its fault, if any."""
    try:
        found_bytes = path.stat().st_size
        if found_bytes != size_bytes:
            return f"it has {found_bytes:,} bytes instead of {size_bytes:,}"
        return None if sha256_of(path) == sha256 else "its checksum is wrong"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


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


def _is_lossless(tokenizer: Tokenizer) -> bool:
    """Tell whether different texts always have different ids (no lossy normalization)."""
    plain = json.loads(tokenizer.to_json())
    before = json.dumps(plain.get("pre_tokenizer"))
    return (
        tokenizer.is_byte_level
        and plain.get("normalizer") is None
        and '"add_prefix_space": true' not in before
    )
