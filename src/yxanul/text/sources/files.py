"""Finding the files that a path, a folder, a glob or an fsspec address stands for."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from yxanul.base.errors import YxanulError, near_miss
from yxanul.text.sources import remote
from yxanul.text.sources.decompress import BEGINNING_BYTES, begins_packed
from yxanul.text.sources.remote_listing import find_remote, no_file_to_read

COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True, slots=True)
class File:
    """A file and its name inside the source: relative, with "/", always valid text.

    The address is a path of this machine or one that fsspec knows. The size of a remote file may
    be unknown. Another fingerprint means that the content may be another one.
    """

    name: str
    address: str
    size_bytes: int | None
    fingerprint: str

    @property
    def is_remote(self) -> bool:
        """Whether the file is behind an address rather than on this machine."""
        return remote.is_remote(self.address)

    @property
    def is_packed(self) -> bool:
        """Whether it is compressed, as its name says, or how it begins."""
        if self.name.lower().endswith(COMPRESSIONS):
            return True
        try:
            with self.open(BEGINNING_BYTES) as file:
                return begins_packed(file.read(BEGINNING_BYTES)) is not None
        except OSError:  # reading it tells
            return False

    def open(self, buffer_bytes: int | None = None) -> BinaryIO:
        """Open the file for reading its bytes from any place.

        A remote one is read in blocks of `buffer_bytes`, with patience; what fails there in spite
        of it is a YxanulError. A local one raises an OSError.
        """
        if not self.is_remote:
            return open(self.address, "rb")
        from yxanul.text.sources.remote_file import BUFFER_BYTES, open_remote

        return open_remote(self._entry, buffer_bytes or BUFFER_BYTES)

    def as_it_is_now(self) -> File:
        """Return the file with its size and time of now; a remote one as it was."""
        return self if self.is_remote else local_file(Path(self.address), self.name)

    def can_be_read_from_the_middle(self) -> bool:
        """Tell whether reading may begin anywhere without reading all that stands before."""
        if not self.is_remote:
            return True
        from yxanul.text.sources.remote_file import answers_with_ranges

        return answers_with_ranges(self._entry)

    @property
    def _entry(self) -> remote.Entry:
        return remote.Entry(self.address, self.size_bytes, self.fingerprint)


def local_file(path: Path, name: str | None = None) -> File:
    """Return the file at `path`, under `name` or its own; its fingerprint is size and time."""
    raw = os.fsencode(name or path.name)
    name = raw.decode("utf-8", "backslashreplace")
    try:
        state = path.stat()
    except OSError:  # a link to nothing; reading it tells
        return File(name, str(path), 0, "unreadable")
    return File(name, str(path), state.st_size, f"{state.st_size}-{state.st_mtime_ns}")


def find_files(path: str, suffixes: Sequence[str]) -> list[File]:
    """Return the files that `path` stands for, sorted by name; none at all is a YxanulError.

    `suffixes` choose inside a folder only: who names a file or writes a glob means those files.
    """
    if remote.is_remote(path):
        found = find_remote(path, suffixes, endings(suffixes))
        return sorted((File(name, *entry) for name, entry in found), key=lambda file: file.name)
    path = path.removeprefix("file://").removeprefix("local://")
    try:
        return _find_here(path, suffixes)
    except OSError as error:
        raise YxanulError(f"{path} cannot be read", found=error.strerror) from None


def _find_here(path: str, suffixes: Sequence[str]) -> list[File]:
    start = Path(path).expanduser()
    if start.is_file():
        return [local_file(start)]
    if start.is_dir():
        return _in_folder(start, suffixes)
    if glob.has_magic(path):
        return _by_glob(str(start))
    if start.exists():
        raise YxanulError(
            f"{start} is a pipe, a socket or a device",
            wanted="a file or a folder: text is read more than once",
            hint="write it into a file first",
        )
    if start.is_symlink():
        target = os.readlink(start)
        raise YxanulError(f"{start} is a link that leads nowhere", found=f"the target {target}")
    raise YxanulError(f"there is no file or folder {start}", hint=_neighbour(start))


def endings(suffixes: Sequence[str]) -> tuple[str, ...]:
    """Return how the names of wanted files end: each suffix alone and before a compression."""
    return tuple(s + c for s in suffixes for c in ("", *COMPRESSIONS))


def digest_of(*words: str) -> str:
    """Return a short mark that changes when one of the words does."""
    return hashlib.blake2b("\n".join(words).encode(), digest_size=16).hexdigest()


def _in_folder(folder: Path, suffixes: Sequence[str]) -> list[File]:
    everything = list(_walk(folder))
    files = [file for file in everything if file.name.lower().endswith(endings(suffixes))]
    if not files:
        raise no_file_to_read(str(folder), [file.name for file in everything], suffixes)
    return sorted(files, key=lambda file: file.name)


def _walk(folder: Path) -> Iterator[File]:
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if not name.startswith(".") and (path.is_file() or _leads_nowhere(path)):
                yield _file(path, folder)


def _leads_nowhere(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _refuse(error: OSError) -> None:
    raise YxanulError(f"the folder {error.filename} cannot be read", found=error.strerror)


def _by_glob(pattern: str) -> list[File]:
    base = Path(pattern)
    while glob.has_magic(str(base)):
        base = base.parent
    paths = {Path(found) for found in glob.glob(pattern, recursive=True)}
    files = [_file(path, base) for path in paths if path.is_file()]
    if not files:
        raise YxanulError(f"no file matches {pattern}", hint=_neighbour(base))
    return sorted(files, key=lambda file: file.name)


def _file(path: Path, base: Path) -> File:
    return local_file(path, path.relative_to(base).as_posix())


def _neighbour(missing: Path) -> str | None:
    """Return a hint: what stands beside a path that does not exist, if its name is close."""
    if missing.exists():
        return None
    parent = missing.absolute().parent
    if not parent.is_dir():
        return f"{parent} {'is a file' if parent.exists() else 'does not exist either'}"
    hint = near_miss(missing.name, os.listdir(parent))
    if hint or missing.is_absolute():
        return hint
    return f"relative paths start at {Path.cwd()}"
