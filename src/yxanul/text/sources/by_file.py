"""Sources that are files: their parts, and reading them one after the other."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from yxanul.base.errors import YxanulError
from yxanul.text.config import JsonlSettings, PlainSettings
from yxanul.text.documents import Document, Dropped, Part
from yxanul.text.sources.files import File, digest_of, find_files

# More files than this are gathered into parts of several: each part costs files of its own.
FILES_AS_PARTS = 256
GATHERED_BYTES = 8 << 20


class FileSource(ABC):
    """A source of files; a subclass says how one file becomes documents."""

    synthetic = False
    suffixes: Sequence[str] = ()

    def __init__(self, name: str, settings: PlainSettings | JsonlSettings):
        self.name = name
        self.settings = settings
        self._plan: dict[str, list[File]] = {}

    @property
    def notes(self) -> list[str]:
        """What a person should be told."""
        return []

    def files(self) -> list[File]:
        """Return the files, sorted by name; none is a YxanulError."""
        return find_files(self.settings.path, self.suffixes)

    def parts(self) -> list[Part]:
        """A part for every file; of several files where there are many; one if there is a limit."""
        self._plan = self._groups()
        way = self.way_of_reading()
        return [
            Part(name, self._size(files), _fingerprint(files, way))
            for name, files in self._plan.items()
        ]

    def read(self, part: Part) -> Iterator[Document | Dropped]:
        """Yield the documents of the part's files, in order."""
        if part.name not in self._plan:
            self._plan = self._groups()
        if part.name not in self._plan:
            raise YxanulError(f"'{part.name}' is gone from {self.settings.path}")
        records = chain.from_iterable(map(self.records, self._plan[part.name]))
        return islice(records, self.settings.limit)

    @abstractmethod
    def records(self, file: File) -> Iterator[Document | Dropped]:
        """Yield the documents of one file, and what cannot be used in its place."""

    def way_of_reading(self) -> str:
        """Return what besides the files decides about the text, such as a guessed column."""
        return ""

    def _size(self, files: Sequence[File]) -> int | None:
        # Only a part of the files is read under a limit.
        if self.settings.limit is not None:
            return None
        return sum(file.size_bytes for file in files)

    def _groups(self) -> dict[str, list[File]]:
        files = self.files()
        if self.settings.limit is not None:
            return {f"first {self.settings.limit}": files}
        groups = [[file] for file in files] if len(files) <= FILES_AS_PARTS else gathered(files)
        return {_group_name(group): group for group in groups}


def gathered(files: Sequence[File]) -> list[list[File]]:
    """Gather files into groups. Names decide where groups end: a new file changes few of them."""
    groups: list[list[File]] = [[]]
    size_bytes = 0
    for file in files:
        if groups[-1] and (size_bytes + file.size_bytes > GATHERED_BYTES or _starts_group(file)):
            groups.append([])
            size_bytes = 0
        groups[-1].append(file)
        size_bytes += file.size_bytes
    return groups


def _starts_group(file: File) -> bool:
    return hashlib.blake2b(file.name.encode(), digest_size=1).digest() == b"\0"


def _group_name(files: Sequence[File]) -> str:
    return files[0].name if len(files) == 1 else f"{files[0].name} to {files[-1].name}"


def _fingerprint(files: Sequence[File], way: str) -> str:
    if len(files) == 1 and not way:
        return files[0].fingerprint
    return digest_of(way, *(f"{file.name}\t{file.fingerprint}" for file in files))
