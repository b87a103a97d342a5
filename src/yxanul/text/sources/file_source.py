"""Sources that are files: their parts, and reading them one after the other."""

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

# More files than this are gathered into parts of several: each part costs files of its own.
FILES_AS_PARTS = 256
GATHERED_BYTES = 8 << 20
_FINDING_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A file, or the documents that begin in a range of it, cut in one way."""

    file: File
    numbers: range | None = None
    way: str = ""
    split: Split = NOTHING_HELD_OUT

    @property
    def place(self) -> str:
        """What the names of its documents begin with."""
        return f"{self.file.name}@{self.numbers.start}" if self.numbers else self.file.name

    @property
    def name(self) -> str:
        """The name of a part that is this piece; `read` finds the range and the way in it."""
        if not self.numbers:
            return self.file.name
        return f"{self.place}-{self.numbers.stop} {self.way}"

    @property
    def size_bytes(self) -> int | None:
        """How many bytes it has, if that is known."""
        return len(self.numbers) if self.numbers else self.file.size_bytes


class FileSource(ABC):
    """A source of files; a subclass says how one file becomes documents."""

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
        self._whole: dict[str, list[FileSlice]] = {}

    @property
    def notes(self) -> list[str]:
        """What a person should be told."""
        return []

    @cached_property
    def files(self) -> list[File]:
        """The files, sorted by name, as they were when the parts were listed last."""
        given = self._given
        found = find_files(self.settings.path, self.suffixes) if given is None else given
        return sorted(found, key=lambda file: file.name)

    def parts(self) -> list[SourceSlice]:
        """A part for every file, for every range of a large one, or for several small ones.

        Under a limit there is one part.
        """
        vars(self).pop("files", None)
        self._whole = self._groups()
        way = self.way_of_reading()
        plan: dict[str, list[FileSlice]] = {}
        for name, pieces in self._whole.items():
            cut = self._ranges(pieces[0].file) if len(pieces) == 1 else []
            plan.update({piece.name: [piece] for piece in cut} or {name: pieces})
        return [
            SourceSlice(name, self._size(pieces), _fingerprint(pieces, way))
            for name, pieces in plan.items()
        ]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the part, in order."""
        pieces = (replace(piece, split=part.split) for piece in self._pieces_of(part))
        records = chain.from_iterable(map(self.records, pieces))
        yield from islice(records, self.settings.limit)
        if self._given is None:
            self.check_unchanged(part)

    def check_unchanged(self, part: SourceSlice) -> None:
        """Refuse a part whose local files are not what they were when it was listed.

        Who gave the files may know them by other marks than size and time, and asks for this.
        """
        pieces = self._pieces_of(part)
        now = [replace(piece, file=piece.file.refreshed()) for piece in pieces]
        if _fingerprint(now, self.way_of_reading()) != part.fingerprint:
            raise YxanulError(
                f"source '{self.name}': {part.name} changed while it was read",
                hint="run the command again when nothing else writes there",
            )

    def files_of(self, part: SourceSlice) -> list[str]:
        """Return the names of the files that a part is made of."""
        return [piece.file.name for piece in self._pieces_of(part)]

    def _pieces_of(self, part: SourceSlice) -> list[FileSlice]:
        if not self._whole:
            self._whole = self._groups()
        return self._whole.get(part.name) or self._range_named(part.name)

    @abstractmethod
    def records(self, piece: FileSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of one piece, and what cannot be used in its place."""

    @abstractmethod
    def way_of_cutting(self, file: File) -> str | None:
        """Return the way in which a large file is cut, None if it has to be read in one go."""

    @abstractmethod
    def finder(self, way: str) -> byte_ranges.Find:
        """Return what finds the first document of a range in a file that is cut this way."""

    def way_of_reading(self) -> str:
        """Return what besides the files decides about the text, such as a guessed column."""
        return ""

    def stream(self, piece: FileSlice) -> ByteStream | Dropped:
        """Return the bytes of a piece; a Dropped if its file cannot even be opened."""
        if piece.numbers is None:
            return self.stream_type(piece.file)
        size = piece.file.size_bytes or 0
        try:
            with piece.file.open(_FINDING_BYTES) as file:
                span = byte_ranges.span_of(file, piece.numbers, size, self.finder(piece.way))
        except OSError:
            return Dropped("unreadable", piece.place)
        return ByteStream(piece.file, span or byte_ranges.ByteRange(size, size))

    def _ranges(self, file: File) -> list[FileSlice]:
        """Return the ranges of a large file; nothing if it is read whole."""
        size = file.size_bytes or 0
        if size <= byte_ranges.RANGE_BYTES or self.settings.limit is not None or file.is_compressed:
            return []
        way = self.way_of_cutting(file) if file.has_random_access() else None
        if way is None:
            return []
        return [FileSlice(file, numbers, way) for numbers in ranges(size, byte_ranges.RANGE_BYTES)]

    def _range_named(self, name: str) -> list[FileSlice]:
        match = re.fullmatch(r"(.*)@(\d+)-(\d+) (\w+)", name, re.DOTALL)
        if match:
            for piece in chain.from_iterable(self._whole.values()):
                if piece.file.name == match[1]:
                    return [FileSlice(piece.file, range(int(match[2]), int(match[3])), match[4])]
        raise YxanulError(f"'{name}' is gone from {self.settings.path}")

    def _size(self, pieces: Sequence[FileSlice]) -> int | None:
        # Only a part of the files is read under a limit.
        sizes = [piece.size_bytes for piece in pieces]
        if self.settings.limit is not None or None in sizes:
            return None
        return sum(size or 0 for size in sizes)

    def _groups(self) -> dict[str, list[FileSlice]]:
        """Return whole files by the name of their part."""
        files = self.files
        if self.settings.limit is not None:
            return {f"first {self.settings.limit}": [FileSlice(file) for file in files]}
        groups = [[file] for file in files] if len(files) <= FILES_AS_PARTS else gathered(files)
        return {_group_name(group): [FileSlice(file) for file in group] for group in groups}


def gathered(files: Sequence[File]) -> list[list[File]]:
    """Gather files into groups. Names decide where groups end: a new file changes few of them."""
    groups: list[list[File]] = [[]]
    size_bytes = 0
    for file in files:
        # A file of unknown size may be a large one.
        size = GATHERED_BYTES if file.size_bytes is None else file.size_bytes
        if groups[-1] and (size_bytes + size > GATHERED_BYTES or _starts_group(file)):
            groups.append([])
            size_bytes = 0
        groups[-1].append(file)
        size_bytes += size
    return groups


def _starts_group(file: File) -> bool:
    return hashlib.blake2b(file.name.encode(), digest_size=1).digest() == b"\0"


def _group_name(files: Sequence[File]) -> str:
    return files[0].name if len(files) == 1 else f"{files[0].name} to {files[-1].name}"


def _fingerprint(pieces: Sequence[FileSlice], way: str) -> str:
    files = [piece.file for piece in pieces]
    if len(files) == 1 and not way:
        return files[0].fingerprint
    return digest_of(way, *(f"{file.name}\t{file.fingerprint}" for file in files))
