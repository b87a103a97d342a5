"""Reading all that lies encoded, to find every fault in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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
    """Something that is not as it should be, and where."""

    where: Path
    what: str


@dataclass
class Check:
    """What a reading of one source found."""

    documents: int = 0
    tokens: int = 0
    files: int = 0
    """Files that were read."""
    with_text: bool = False
    """Whether a tokenizer was at hand, so that held-out text was compared with its ids."""
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is no fault, but good to know."""


Tokenizers = Callable[[Header], Tokenizer | None]
"""Gives the tokenizer that a source was encoded with, if it is at hand."""


def verify_sources(folders: Mapping[str, Path], tokenizers: Tokenizers, ui: Ui) -> dict[str, Check]:
    """Read every file of every source, and return what was found.

    Held-out documents are looked for among the training documents of all sources that hold out
    the same share of the same ids: equal texts fall on the same side everywhere.
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
        _Reading(source, tokenizer, held_out, checks[name]).run(ui)
    return checks


class _HeldOut:
    """The held-out documents of all sources, known by the digest of their ids."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, float], dict[bytes, tuple[str, int]]] = {}
        self.by_place: set[str] = set()

    def gather(self, source: Encoded) -> None:
        """Note the held-out documents of a source; what cannot be read is told of elsewhere."""
        known = self.of(source.manifest.header)
        first = 0
        for place, entry in enumerate(source.manifest.splits["validation"].shards):
            shard = _sound_shard(source, "validation", place)
            for number, digest in enumerate(_digests(shard), first):
                known.setdefault(digest, (source.name, number))
            first += entry.documents
            record = read_record(source.folder, place)
            if record is not None and record.held_out_below == 1:
                self.by_place.add(source.name)

    def of(self, header: Header) -> dict[bytes, tuple[str, int]]:
        """Return (source, document) by digest, for sources that are split alike."""
        return self._known.setdefault((header.tokenizer, header.validation_fraction), {})


class _Reading:
    """The reading of one source."""

    def __init__(
        self, source: Encoded, tokenizer: Tokenizer | None, held_out: _HeldOut, check: Check
    ) -> None:
        self.source, self.tokenizer, self.check = source, tokenizer, check
        self.header = source.manifest.header
        self.folder = source.folder
        self._known, self._by_place = held_out.of(self.header), held_out.by_place
        self._leaks: dict[str, list[tuple[int, int]]] = {}
        self._damaged: set[tuple[Split, int]] = set()
        check.with_text = tokenizer is not None
        self._is_copy = (self.folder / "fetched.json").is_file()
        if self._is_copy:
            check.notes.append("these are copies of the shards at an address")

    def run(self, ui: Ui) -> None:
        """Read everything."""
        if self.header.source != name_of(self.folder):
            self._fault(self.folder, f"it holds the shards of '{self.header.source}'")
        records = self._records()
        total = sum(sum(sizes.values()) for *_, sizes in self._shards(records))
        with ui.task(f"verify {self.source.name}", total, "B") as bar:
            number = dict.fromkeys(SPLITS, 0)
            for split, place, entry, _ in self._shards(records):
                self._check_shard(split, place, entry, number[split], bar)
                number[split] += entry.documents
        self._tell_leaks()
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
        """Yield split, number, figures and sizes of the files of every shard that should be."""
        for split in SPLITS:
            for number, entry in enumerate(self.source.manifest.splits[split].shards):
                if number in records or (
                    self.source.complete and (entry.tokens or not self._is_copy)
                ):
                    yield split, number, entry, shard_sizes(entry, self.header.dtype)

    def _records(self) -> dict[int, PartRecord]:
        """Return the marks of the parts, and compare the manifest with them; copies have none."""
        source, found = self.source, {}
        if self._is_copy:
            return found
        for number in range(source.num_parts):
            record = read_record(self.folder, number)
            path = record_path(self.folder, number)
            if record is not None:
                found[number] = record
            elif source.complete or path.exists():
                self._fault(path, "it is broken" if path.exists() else "it is missing")
        if not source.complete:
            self._fault(
                self.folder,
                f"it is not prepared to its end: {source.parts_done} of {source.num_parts} parts"
                " are encoded; run yxanul prepare",
            )
        elif len(found) == source.num_parts:
            self._compare(found)
        return found

    def _compare(self, records: Mapping[int, PartRecord]) -> None:
        """The manifest has to be the sum of its parts, and the outline its beginning."""
        manifest = self.source.manifest
        outline = Outline(
            header=self.header, synthetic=manifest.synthetic, num_parts=self.source.num_parts
        )
        if make_manifest(outline, records) != manifest:
            self._fault(self.folder / "manifest.json", "it is not the sum of its parts")
        try:
            if read_outline(self.folder) != outline:
                self._fault(self.folder / "outline.json", "it is not that of the manifest")
        except YxanulError as error:
            self._fault(self.folder / "outline.json", str(error))

    def _check_shard(
        self, split: Split, place: int, entry: ShardEntry, first: int, bar: ProgressTask
    ) -> None:
        """Read the files of one shard; `first` is the number of its first document."""
        files = shard_files(self.folder / split, place)
        sizes = shard_sizes(entry, self.header.dtype)
        faults = {
            path: _file_fault(path, sizes[end], entry.sha256.get(end), bar)
            for end, path in files.items()
        }
        for path, fault in faults.items():
            if fault is not None:
                self._fault(path, fault)
                self._damaged.add((split, place))
        self.check.files += sum(fault is None for fault in faults.values())
        self.check.documents += entry.documents
        self.check.tokens += entry.tokens
        # What is wrong with the content of a damaged file says nothing more.
        if (split, place) in self._damaged or not entry.tokens:
            return
        shard = self.source.shard(split, place)
        in_order = True
        for end, what in _content_faults(shard, self.header):
            in_order = in_order and end != ".offsets"
            self._fault(files[end], what)
        if split == "train" and in_order and self._known:
            self._look_for_leaks(shard, first)

    def _look_for_leaks(self, shard: Shard, first: int) -> None:
        for number, digest in enumerate(_digests(shard), first):
            if digest in self._known:
                source, document = self._known[digest]
                self._leaks.setdefault(source, []).append((number, document))

    def _tell_leaks(self) -> None:
        """Held-out documents among the training documents: a fault, unless the tokenizer gives
        the same ids for different texts."""
        for source, pairs in self._leaks.items():
            number, document = pairs[0]
            what = (
                f"{len(pairs):,} training documents have the ids of held-out ones, such as"
                f" {number} those of document {document} of '{source}'"
            )
            if self.tokenizer is not None and not _tells_all_apart(self.tokenizer):
                self.check.notes.append(f"{what}; this tokenizer does not tell all texts apart")
            elif source in self._by_place:
                self.check.notes.append(
                    f"{what}: passages are held out by their place, and text"
                    " that repeats itself is on both sides; data.deduplicate leaves copies out"
                )
            else:
                self._fault(self.folder / "train", what)

    def _check_dropped(self) -> None:
        """What was left out is counted, and samples of it can be read."""
        try:
            causes = {sample.cause for sample in self.source.dropped()}
        except YxanulError as error:
            self._fault(self.folder / "dropped.jsonl", str(error))
            return
        if causes != {cause for cause, count in self.source.manifest.dropped.items() if count}:
            self._fault(self.folder / "dropped.jsonl", "its causes are not those of the manifest")

    def _fault(self, where: Path, what: str) -> None:
        self.check.faults.append(Fault(where, what))


def _file_fault(path: Path, size_bytes: int, sha256: str | None, bar: ProgressTask) -> str | None:
    """Read a file, and return what is wrong with it."""
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
    """Yield (end of the file's name, fault) of what checksums do not tell."""
    ids, starts, entry = shard.ids, shard.starts, shard.entry
    highest, ends = 0, 0
    for at in range(0, len(ids), _CHUNK_TOKENS):
        chunk = ids[at : at + _CHUNK_TOKENS]
        highest = max(highest, int(chunk.max()))
        ends += int(np.count_nonzero(chunk == header.end_of_text_id))
    if highest >= header.vocab_size:
        yield ".ids", f"it holds the id {highest}; ids are below {header.vocab_size}"
    lengths = np.diff(starts)
    if starts[0] != 0 or starts[-1] != entry.tokens or np.any(lengths <= 0):
        yield ".offsets", "its documents do not follow in order"
        return
    open_ends = int(np.count_nonzero(ids[starts[1:] - 1] != header.end_of_text_id))
    if open_ends:
        yield ".ids", f"{open_ends:,} documents do not end with the end of text"
    inside = ends - (entry.documents - open_ends)
    if inside:
        yield ".ids", f"{inside:,} ends of text stand inside of documents"
    if int(shard.document_bytes.sum()) != entry.bytes:
        yield ".bytes", f"its documents have not the {entry.bytes:,} bytes of the manifest"
    histogram = np.trim_zeros(np.bincount(np.frexp(lengths)[1] - 1, minlength=1), "b")
    if entry.lengths and histogram.tolist() != list(entry.lengths):
        yield ".offsets", "its documents have not the lengths of the manifest"


def _sound_shard(source: Encoded, split: Split, place: int) -> Shard | None:
    """Return a shard whose documents can be told apart, or None."""
    try:
        shard = source.shard(split, place)
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
    for place in range(len(starts) - 1):
        document = content[starts[place] : starts[place + 1]]
        yield hashlib.blake2b(document, digest_size=12).digest()


def _tells_all_apart(tokenizer: Tokenizer) -> bool:
    """Tell whether different texts always have different ids."""
    plain = json.loads(tokenizer.to_json())
    before = json.dumps(plain.get("pre_tokenizer"))
    return (
        tokenizer.is_byte_level
        and plain.get("normalizer") is None
        and '"add_prefix_space": true' not in before
    )
