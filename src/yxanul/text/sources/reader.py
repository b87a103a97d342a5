"""Readers of files: each turns the files of one kind into slices and documents."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources import byte_ranges
from yxanul.text.sources.bytestream import ByteStream
from yxanul.text.sources.files import File
from yxanul.text.sources.source import digest_of, ranges
from yxanul.text.split import NOTHING_HELD_OUT, Split

# More files than this are grouped into slices of several, as each slice costs files of its own.
FILES_AS_PARTS = 256
GROUP_BYTES = 8 << 20
_FINDING_BYTES = 1 << 16


class Reader(ABC):
    """Reads files of one kind. The settings are those of the source."""

    def __init__(self, name: str, settings: Any, files: Sequence[File]):
        """`name` is that of the source."""
        self.name = name
        self.settings = settings
        self.files = sorted(files, key=lambda file: file.name)

    @property
    def notes(self) -> list[str]:
        """Notes for the user."""
        return []

    @abstractmethod
    def slices(self) -> list[SourceSlice]:
        """List the slices, in order."""

    @abstractmethod
    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a slice, and in their positions the dropped ones."""

    @abstractmethod
    def files_of(self, part: SourceSlice) -> list[File]:
        """Return the files in a slice."""

    @abstractmethod
    def fingerprint(self, files: Sequence[File]) -> str:
        """Return a fingerprint of some files and of how they are read."""

    def check_unchanged(self, part: SourceSlice) -> None:
        """Raise if a local file of the slice has changed since the slice was listed."""
        if self.fingerprint([file.refreshed() for file in self.files_of(part)]) != part.fingerprint:
            raise YxanulError(
                f"source '{self.name}': {part.name} changed while it was read",
                hint="run the command again when nothing else writes there",
            )

    def parsed(self, part: SourceSlice, pattern: str) -> tuple[File, tuple[str, ...]]:
        """Return the file that the first group of `pattern` finds in a slice name, and the rest."""
        match = re.fullmatch(pattern, part.name, re.DOTALL)
        file = next((file for file in self.files if match and file.name == match[1]), None)
        if match is None or file is None:
            raise gone(part, self.settings.path)
        return file, match.groups()[1:]


def gone(part: SourceSlice, path: str) -> YxanulError:
    """Return the error for a slice that a source does not have."""
    return YxanulError(f"'{part.name}' no longer exists in {path}")


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A file, or the documents that begin in a byte range of it, found in one mode."""

    file: File
    offsets: range | None = None
    mode: str = ""
    split: Split = NOTHING_HELD_OUT

    @property
    def place(self) -> str:
        """Prefix of its documents' ids."""
        return f"{self.file.name}@{self.offsets.start}" if self.offsets else self.file.name

    @property
    def name(self) -> str:
        """Name of the source slice; `read` parses range and mode from it."""
        if not self.offsets:
            return self.file.name
        return f"{self.place}-{self.offsets.stop} {self.mode}"

    @property
    def size_bytes(self) -> int | None:
        """Size in bytes, if known."""
        return len(self.offsets) if self.offsets else self.file.size_bytes


class StreamReader(Reader):
    """Reads files from begin to end, large ones in byte ranges and small ones in groups."""

    stream_type = ByteStream

    @abstractmethod
    def records(self, piece: FileSlice, stream: ByteStream) -> Iterator[Document | Dropped]:
        """Yield the documents of a file or a range, and in their positions the dropped ones.

        `stream` has its bytes.
        """

    @abstractmethod
    def range_mode(self, file: File) -> str | None:
        """Return the mode for splitting a large file; None if it must be read whole."""

    @abstractmethod
    def boundary_finder(self, mode: str) -> byte_ranges.FindStart:
        """Return the function that finds the first document of a range in this mode."""

    def reading_key(self) -> str:
        """Return what else affects the text, such as a guessed column, for fingerprints."""
        return ""

    def slices(self) -> list[SourceSlice]:
        """Return a slice per file, per range of a large one, or per group of small ones.

        With a limit there is a single slice.
        """
        plan: dict[str, list[FileSlice]] = {}
        for name, pieces in self._groups.items():
            cut = self._ranges(pieces[0].file) if len(pieces) == 1 else []
            plan.update({piece.name: [piece] for piece in cut} or {name: pieces})
        return [
            SourceSlice(name, self._size(pieces), self.fingerprint([p.file for p in pieces]))
            for name, pieces in plan.items()
        ]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the slice, in order."""
        pieces = (replace(piece, split=part.split) for piece in self._pieces_of(part))
        return islice(chain.from_iterable(map(self._opened, pieces)), self.settings.limit)

    def files_of(self, part: SourceSlice) -> list[File]:
        """Return the files in a slice."""
        return [piece.file for piece in self._pieces_of(part)]

    def fingerprint(self, files: Sequence[File]) -> str:
        """Return a fingerprint of some files and of how they are read."""
        key = self.reading_key()
        if len(files) == 1 and not key:
            return files[0].fingerprint
        return digest_of(key, *(f"{file.name}\t{file.fingerprint}" for file in files))

    def _opened(self, piece: FileSlice) -> Iterator[Document | Dropped]:
        stream = self.stream_type(piece.file)
        if piece.offsets is not None:
            size, find = piece.file.size_bytes or 0, self.boundary_finder(piece.mode)
            try:
                with piece.file.open(_FINDING_BYTES) as file:
                    aligned = byte_ranges.aligned_range(file, piece.offsets, size, find)
            except OSError:
                yield Dropped("unreadable", piece.place)
                return
            stream = ByteStream(piece.file, aligned or byte_ranges.ByteRange(size, size))
        yield from self.records(piece, stream)

    def _ranges(self, file: File) -> list[FileSlice]:
        """Return the ranges of a large file; empty if it is read whole."""
        size = file.size_bytes or 0
        if size <= byte_ranges.RANGE_BYTES or self.settings.limit is not None or file.is_compressed:
            return []
        mode = self.range_mode(file) if file.has_random_access() else None
        cut = ranges(size, byte_ranges.RANGE_BYTES) if mode is not None else []
        return [FileSlice(file, offsets, mode or "") for offsets in cut]

    def _pieces_of(self, part: SourceSlice) -> list[FileSlice]:
        if part.name in self._groups:
            return self._groups[part.name]
        file, (start, stop, mode) = self.parsed(part, r"(.*)@(\d+)-(\d+) (\w+)")
        return [FileSlice(file, range(int(start), int(stop)), mode)]

    def _size(self, pieces: Sequence[FileSlice]) -> int | None:
        # With a limit, only some of the files are read.
        sizes = [piece.size_bytes for piece in pieces]
        if self.settings.limit is not None or None in sizes:
            return None
        return sum(size or 0 for size in sizes)

    @cached_property
    def _groups(self) -> dict[str, list[FileSlice]]:
        """Files of each slice of whole files, by slice name."""
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
    """Group small files. Group ends depend on file names, so that a new file changes few groups."""
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
