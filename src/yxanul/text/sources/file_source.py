"""Base of the sources that are files: their slices, and reading them one after the other."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice

from yxanul.base.errors import YxanulError
from yxanul.text.config import JsonlSettings, TextSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources import byte_ranges
from yxanul.text.sources.bytestream import ByteStream
from yxanul.text.sources.files import File, find_files
from yxanul.text.sources.source import digest_of, ranges
from yxanul.text.split import NOTHING_HELD_OUT, Split

# More files than this are grouped into slices of several: each slice costs files of its own.
FILES_AS_PARTS = 256
GROUP_BYTES = 8 << 20
_FINDING_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A file, or the documents that begin in a range of its bytes, found in one mode."""

    file: File
    offsets: range | None = None
    mode: str = ""
    split: Split = NOTHING_HELD_OUT

    @property
    def place(self) -> str:
        """What the names of its documents begin with."""
        return f"{self.file.name}@{self.offsets.start}" if self.offsets else self.file.name

    @property
    def name(self) -> str:
        """The name of a source slice that is this one; `read` finds range and mode in it."""
        if not self.offsets:
            return self.file.name
        return f"{self.place}-{self.offsets.stop} {self.mode}"

    @property
    def size_bytes(self) -> int | None:
        """How many bytes it has, if that is known."""
        return len(self.offsets) if self.offsets else self.file.size_bytes


class FileSource(ABC):
    """Source of files; a subclass says how one file becomes documents."""

    synthetic = False
    suffixes: Sequence[str] = ()
    stream_type = ByteStream

    def __init__(
        self,
        name: str,
        settings: TextSettings | JsonlSettings,
        files: Sequence[File] | None = None,
    ):
        """`files` are read in place of what the path in the settings stands for."""
        self.name = name
        self.settings = settings
        self._given = files

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        return []

    @cached_property
    def files(self) -> list[File]:
        """The files, sorted by name, as they were when the slices were listed last."""
        given = self._given
        found = find_files(self.settings.path, self.suffixes) if given is None else given
        return sorted(found, key=lambda file: file.name)

    def parts(self) -> list[SourceSlice]:
        """One slice for each file, for each range of a large one, or for several small ones.

        Under a limit there is one.
        """
        for cached in ("files", "_groups"):
            vars(self).pop(cached, None)
        key = self.reading_key()
        plan: dict[str, list[FileSlice]] = {}
        for name, pieces in self._groups.items():
            cut = self._ranges(pieces[0].file) if len(pieces) == 1 else []
            plan.update({piece.name: [piece] for piece in cut} or {name: pieces})
        return [
            SourceSlice(name, self._size(pieces), _fingerprint(pieces, key))
            for name, pieces in plan.items()
        ]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the slice, in order."""
        pieces = (replace(piece, split=part.split) for piece in self._pieces_of(part))
        records = chain.from_iterable(map(self.records, pieces))
        yield from islice(records, self.settings.limit)
        if self._given is None:
            self.check_unchanged(part)

    def check_unchanged(self, part: SourceSlice) -> None:
        """Refuse a slice whose local files are not what they were when it was listed.

        Whoever passed the files may know them by other fingerprints, and asks for this.
        """
        now = [replace(piece, file=piece.file.refreshed()) for piece in self._pieces_of(part)]
        if _fingerprint(now, self.reading_key()) != part.fingerprint:
            raise YxanulError(
                f"source '{self.name}': {part.name} changed while it was read",
                hint="run the command again when nothing else writes there",
            )

    def files_of(self, part: SourceSlice) -> list[str]:
        """Return the names of the files in a slice."""
        return [piece.file.name for piece in self._pieces_of(part)]

    @abstractmethod
    def records(self, piece: FileSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a file or a range, and what cannot be used in its place."""

    @abstractmethod
    def range_mode(self, file: File) -> str | None:
        """Return the mode in which a large file is cut; None if it has to be read whole."""

    @abstractmethod
    def boundary_finder(self, mode: str) -> byte_ranges.FindStart:
        """Return what finds the first document of a range in this mode."""

    def reading_key(self) -> str:
        """Return what besides the files decides about the text, such as a guessed column."""
        return ""

    def stream(self, piece: FileSlice) -> ByteStream | Dropped:
        """Return the bytes of a file or a range; a Dropped if it cannot even be opened."""
        if piece.offsets is None:
            return self.stream_type(piece.file)
        size, find = piece.file.size_bytes or 0, self.boundary_finder(piece.mode)
        try:
            with piece.file.open(_FINDING_BYTES) as file:
                found = byte_ranges.aligned_range(file, piece.offsets, size, find)
        except OSError:
            return Dropped("unreadable", piece.place)
        return ByteStream(piece.file, found or byte_ranges.ByteRange(size, size))

    def _ranges(self, file: File) -> list[FileSlice]:
        """Return the ranges of a large file; nothing if it is read whole."""
        size = file.size_bytes or 0
        if size <= byte_ranges.RANGE_BYTES or self.settings.limit is not None or file.is_compressed:
            return []
        mode = self.range_mode(file) if file.has_random_access() else None
        cut = ranges(size, byte_ranges.RANGE_BYTES) if mode is not None else []
        return [FileSlice(file, offsets, mode or "") for offsets in cut]

    def _pieces_of(self, part: SourceSlice) -> list[FileSlice]:
        if part.name in self._groups:
            return self._groups[part.name]
        match = re.fullmatch(r"(.*)@(\d+)-(\d+) (\w+)", part.name, re.DOTALL)
        file = next((file for file in self.files if match and file.name == match[1]), None)
        if match is None or file is None:
            raise YxanulError(f"'{part.name}' is gone from {self.settings.path}")
        return [FileSlice(file, range(int(match[2]), int(match[3])), match[4])]

    def _size(self, pieces: Sequence[FileSlice]) -> int | None:
        # Only some of the files are read under a limit.
        sizes = [piece.size_bytes for piece in pieces]
        if self.settings.limit is not None or None in sizes:
            return None
        return sum(size or 0 for size in sizes)

    @cached_property
    def _groups(self) -> dict[str, list[FileSlice]]:
        """The whole files of each slice, by its name."""
        files = self.files
        if self.settings.limit is not None:
            return {f"first {self.settings.limit}": [FileSlice(file) for file in files]}
        groups = [[file] for file in files] if len(files) <= FILES_AS_PARTS else grouped(files)
        return {
            group[0].name if len(group) == 1 else f"{group[0].name} to {group[-1].name}": [
                FileSlice(file) for file in group
            ]
            for group in groups
        }


def grouped(files: Sequence[File]) -> list[list[File]]:
    """Group small files. Names decide where groups end: a new file changes few of them."""
    groups: list[list[File]] = [[]]
    size_bytes = 0
    for file in files:
        # A file of unknown size may be a large one.
        size = GROUP_BYTES if file.size_bytes is None else file.size_bytes
        ends = hashlib.blake2b(file.name.encode(), digest_size=1).digest() == b"\0"
        if groups[-1] and (ends or size_bytes + size > GROUP_BYTES):
            groups.append([])
            size_bytes = 0
        groups[-1].append(file)
        size_bytes += size
    return groups


def _fingerprint(pieces: Sequence[FileSlice], key: str) -> str:
    files = [piece.file for piece in pieces]
    if len(files) == 1 and not key:
        return files[0].fingerprint
    return digest_of(key, *(f"{file.name}\t{file.fingerprint}" for file in files))
