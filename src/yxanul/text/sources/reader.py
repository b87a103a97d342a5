"""Readers of files: each turns the files of one kind into slices and documents."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Self

from yxanul.base.errors import YxanulError
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources import byte_ranges
from yxanul.text.sources.bytestream import ByteStream, marked_encoding
from yxanul.text.sources.files import File
from yxanul.text.sources.source import digest_of, ranges
from yxanul.text.split import NOTHING_HELD_OUT, Split

# More files than this are grouped into slices of several, as each slice costs files of its own.
FILES_AS_PARTS = 256
GROUP_BYTES = 8 << 20
_FINDING_BYTES = 1 << 16


class Reader(ABC):
    """Reads files of one kind. The settings are those of the source."""

    columns: Any = None
    """The `Columns` of the text, if the files have rows."""

    def __init__(self, name: str, settings: Any, files: Sequence[File]):
        """`name` is that of the source."""
        self.name = name
        self.settings = settings
        self.files = sorted(files, key=lambda file: file.name)

    @classmethod
    def of(cls, part: SourceSlice, name: str, settings: Any) -> Self:
        """Return a reader for one slice, without sampling its files for the columns again."""
        reader = cls(name, settings, files_of(part))
        reader.columns = part.columns
        return reader

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
    def fingerprint(self, files: Sequence[File]) -> str:
        """Return a fingerprint of some files and of how they are read."""

    def check_unchanged(self, part: SourceSlice) -> None:
        """Raise if a local file of the slice has changed since the slice was listed."""
        if self.fingerprint([file.refreshed() for file in files_of(part)]) != part.fingerprint:
            raise YxanulError(
                f"source '{self.name}': {part.name} changed while it was read",
                hint="run the command again when nothing else writes there",
            )


def files_of(part: SourceSlice) -> list[File]:
    """Return the files in a slice."""
    return [piece.file for piece in part.work]


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
        """Name of a slice of this alone."""
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
        limit, files = self.settings.limit, self.files
        if limit is not None:
            return [self._slice(f"first {limit}", [FileSlice(file) for file in files])]
        groups = [[file] for file in files] if len(files) <= FILES_AS_PARTS else grouped(files)
        parts: list[SourceSlice] = []
        for group in groups:
            if len(group) > 1:
                name = f"{group[0].name} to {group[-1].name}"
                parts.append(self._slice(name, [FileSlice(file) for file in group]))
            else:
                parts += [self._slice(piece.name, [piece]) for piece in self._pieces(group[0])]
        return parts

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the slice, in order."""
        pieces = (replace(piece, split=part.split) for piece in part.work)
        return islice(chain.from_iterable(map(self._opened, pieces)), self.settings.limit)

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

    def _pieces(self, file: File) -> list[FileSlice]:
        """Return a file as it is read: a large one in ranges, if it has a mode for them."""
        size = file.size_bytes or 0
        can_seek = not file.is_compressed and file.has_random_access()
        if size > byte_ranges.RANGE_BYTES and can_seek and _has_byte_newlines(file):
            mode = self.range_mode(file)
            if mode is not None:
                cut = ranges(size, byte_ranges.RANGE_BYTES)
                return [FileSlice(file, offsets, mode) for offsets in cut]
        return [FileSlice(file)]

    def _slice(self, name: str, pieces: Sequence[FileSlice]) -> SourceSlice:
        sizes = [piece.size_bytes for piece in pieces]
        # With a limit, only some of the files are read.
        is_known = self.settings.limit is None and None not in sizes
        size_bytes = sum(size or 0 for size in sizes) if is_known else None
        fingerprint = self.fingerprint([piece.file for piece in pieces])
        return SourceSlice(name, size_bytes, fingerprint, work=pieces, columns=self.columns)


def _has_byte_newlines(file: File) -> bool:
    """Return whether lines end with a single byte, which UTF-16 and UTF-32 lack."""
    try:
        with file.open(1 << 10) as opened:
            return marked_encoding(opened.read(4)) is None
    except OSError:
        return False


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
