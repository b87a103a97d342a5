"""Verify encoded sources: read every file and report every fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.files import sha256_of
from yxanul.base.ui import ProgressTask, Ui
from yxanul.data.held_out import (
    HeldOut,
    excuse_for_copies,
    find_copies,
    held_out_faults,
    index_held_out,
)
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

    def fault(self, where: Path, what: object) -> None:
        """Add a fault."""
        self.faults.append(Fault(where, str(what)))

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
            checks[name].fault(folder, error)
    held_out = index_held_out(opened.values())
    for name, source in opened.items():
        check, tokenizer = checks[name], None
        try:
            tokenizer = tokenizers(source.manifest.header)
        except YxanulError as error:
            check.fault(source.folder, error)
        check.with_text = tokenizer is not None
        _verify(source, tokenizer, held_out, check, ui)
    return checks


def _verify(
    source: Encoded, tokenizer: Tokenizer | None, held_out: HeldOut, check: Check, ui: Ui
) -> None:
    """Verify all files of one source."""
    folder, header = source.folder, source.manifest.header
    if header.source != name_of(folder):
        check.fault(folder, f"it contains the shards of '{header.source}'")
    records: dict[int, PartRecord] = {}
    is_copy = (folder / "fetched.json").is_file()
    if is_copy:
        check.notes.append("verified local copies of remote shards")
    else:
        records = source.records()
        _check_records(source, records, check)
    shards: list[tuple[Split, int, ShardEntry]] = [
        (split, number, entry)
        for split in SPLITS
        for number, entry in enumerate(source.manifest.splits[split].shards)
        if number in records or (source.complete and (entry.tokens or not is_copy))
    ]
    damaged: set[int] = set()
    copies, examples = Counter[str](), dict[str, str]()
    total = sum(sum(shard_sizes(entry, header.dtype).values()) for *_, entry in shards)
    with ui.task(f"verify {source.name}", total, "B") as bar:
        for split, number, entry in shards:
            is_intact = _check_shard(source, split, number, entry, check, bar)
            if split == "train" and is_intact:
                for name, which in find_copies(source, number, held_out):
                    copies[name] += 1
                    examples.setdefault(name, which)
            elif not is_intact and split == "validation":
                damaged.add(number)
    excuse = excuse_for_copies(source, tokenizer) if copies else None
    for name, count in copies.items():
        what = f"{count:,} training documents have the same ids as held-out ones, such as"
        if excuse is None:
            check.fault(folder / "train", f"{what} {examples[name]}")
        else:
            check.notes.append(f"{what} {examples[name]}{excuse}")
    _check_dropped(source, check)
    if not is_copy:
        for where, what in held_out_faults(source, records, damaged, tokenizer):
            check.fault(where, what)


def _check_records(source: Encoded, records: Mapping[int, PartRecord], check: Check) -> None:
    """Check that every slice has a record, and the manifest is their sum."""
    folder, manifest = source.folder, source.manifest
    for number in range(source.num_parts):
        path = record_path(folder, number)
        if number not in records and (source.complete or path.exists()):
            check.fault(path, "it is damaged" if path.exists() else "it is missing")
    if not source.complete:
        done = f"{source.parts_done} of {source.num_parts} shards are encoded"
        check.fault(folder, f"it is incomplete: {done}; run `yxanul prepare`")
        return
    outline = Outline(
        header=manifest.header, synthetic=manifest.synthetic, num_parts=source.num_parts
    )
    if len(records) == source.num_parts and make_manifest(outline, records) != manifest:
        check.fault(folder / "manifest.json", "it is not the sum of the records in parts/")
    try:
        if read_outline(folder) != outline:
            check.fault(folder / "outline.json", "it does not match the manifest")
    except YxanulError as error:
        check.fault(folder / "outline.json", error)


def _check_shard(
    source: Encoded, split: Split, part: int, entry: ShardEntry, check: Check, bar: ProgressTask
) -> bool:
    """Check one shard; return whether its files are intact."""
    header, intact = source.manifest.header, True
    files = shard_files(source.folder / split, part)
    check.documents += entry.documents
    check.tokens += entry.tokens
    for suffix, size_bytes in shard_sizes(entry, header.dtype).items():
        fault = _file_fault(files[suffix], size_bytes, entry.sha256.get(suffix))
        bar.advance(size_bytes)
        if fault is None:
            check.files += 1
        else:
            check.fault(files[suffix], fault)
            intact = False
    if intact and entry.tokens:
        for suffix, what in _content_faults(source.shard(split, part), header):
            check.fault(files[suffix], what)
    return intact


def _check_dropped(source: Encoded, check: Check) -> None:
    """Check that samples of dropped documents are readable, and match the counted causes."""
    path = source.folder / "dropped.jsonl"
    try:
        causes = {sample.cause for sample in source.dropped()}
    except YxanulError as error:
        check.fault(path, error)
        return
    if causes != {cause for cause, count in source.manifest.dropped.items() if count}:
        check.fault(path, "its causes do not match the manifest")


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
    lengths = np.diff(starts)
    if starts[0] != 0 or starts[-1] != entry.tokens or np.any(lengths <= 0):
        yield ".offsets", "its document offsets are not increasing"
        return
    chunks = [(at, ids[at : at + _CHUNK_TOKENS]) for at in range(0, len(ids), _CHUNK_TOKENS)]
    highest = max(int(chunk.max()) for _, chunk in chunks)
    if highest >= header.vocab_size:
        yield ".ids", f"it contains the id {highest}; expected ids below {header.vocab_size}"
    eos = [at + np.flatnonzero(chunk == header.end_of_text_id) for at, chunk in chunks]
    if not np.array_equal(np.concatenate(eos) + 1, starts[1:]):
        yield ".ids", "its documents do not end with eos, or have one inside"
    if int(shard.document_bytes.sum()) != entry.bytes:
        yield ".bytes", f"document sizes do not add up to the {entry.bytes:,} bytes in the manifest"
    histogram = np.trim_zeros(np.bincount(np.frexp(lengths)[1] - 1), "b")
    if histogram.tolist() != list(entry.lengths):
        yield ".offsets", "document lengths do not match the manifest"
