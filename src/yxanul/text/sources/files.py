"""Finding the files that a path, a folder or a glob stands for."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from yxanul.base.errors import YxanulError, near_miss

COMPRESSIONS = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class File:
    """A file and its name inside the source: relative, with "/", always valid text."""

    name: str
    path: Path
    size_bytes: int
    modified_ns: int

    @property
    def fingerprint(self) -> str:
        """Size and time of the last change: cheap, and another one after every usual change."""
        return f"{self.size_bytes}-{self.modified_ns}"


def find_files(path: str, suffixes: Sequence[str]) -> list[File]:
    """Return the files that `path` stands for, sorted by name; none at all is a YxanulError.

    `suffixes` choose inside a folder only: who names a file or writes a glob means those files.
    """
    start = Path(path).expanduser()
    if start.is_file():
        return [_file(start, start.parent)]
    if start.is_dir():
        return _in_folder(start, suffixes)
    if glob.has_magic(path):
        return _by_glob(str(start))
    raise YxanulError(f"there is no file or folder {start}", hint=_neighbour(start))


def digest_of(*words: str) -> str:
    """Return a short mark that changes when one of the words does."""
    return hashlib.blake2b("\n".join(words).encode(), digest_size=16).hexdigest()


def _in_folder(folder: Path, suffixes: Sequence[str]) -> list[File]:
    everything = list(_walk(folder))
    wanted = tuple(s + c for s in suffixes for c in ("", *COMPRESSIONS))
    files = [file for file in everything if file.name.lower().endswith(wanted)]
    if not files:
        others = ", ".join(file.name for file in everything[:3])
        raise YxanulError(
            f"the folder {folder} has no file to read",
            found=f"{len(everything)} other files ({others} ...)" if everything else "no file",
            wanted="names that end in " + ", ".join(suffixes),
        )
    return sorted(files, key=lambda file: file.name)


def _walk(folder: Path) -> Iterator[File]:
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if not name.startswith(".") and path.is_file():
                yield _file(path, folder)


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
    state = path.stat()
    raw = os.fsencode(path.relative_to(base).as_posix())
    name = raw.decode("utf-8", "backslashreplace")
    return File(name, path, state.st_size, state.st_mtime_ns)


def _neighbour(missing: Path) -> str | None:
    """Return a hint: what stands beside a path that does not exist, if its name is close."""
    if missing.exists():
        return None
    parent = missing.absolute().parent
    if not parent.is_dir():
        return f"the folder {parent} does not exist either"
    hint = near_miss(missing.name, os.listdir(parent))
    if hint or missing.is_absolute():
        return hint
    return f"relative paths start at {Path.cwd()}"
