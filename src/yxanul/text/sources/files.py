"""Resolution of a path, folder, glob or fsspec address to files."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.base.files import expand_home
from yxanul.text.sources import remote
from yxanul.text.sources.decompress import MAGIC_BYTES, compression_of
from yxanul.text.sources.retry import is_not_found, retry

COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True, slots=True)
class File:
    """A local or remote file.

    The name is relative to the source, with "/", and always valid UTF-8. The address is a local
    path or an fsspec address. The size of a remote file may be unknown. The fingerprint changes
    when the content may have changed.
    """

    name: str
    address: str
    size_bytes: int | None
    fingerprint: str

    @property
    def is_remote(self) -> bool:
        """Whether the address is remote rather than a local path."""
        return remote.is_remote(self.address)

    @property
    def is_compressed(self) -> bool:
        """Whether it is compressed, by its name or its magic number."""
        if self.name.lower().endswith(COMPRESSIONS):
            return True
        try:
            with self.open(MAGIC_BYTES) as file:
                return compression_of(file.read(MAGIC_BYTES)) is not None
        except OSError:  # reading it will report it
            return False

    def open(self, buffer_bytes: int | None = None) -> BinaryIO:
        """Open the file as a seekable binary stream.

        A remote file is read in blocks of `buffer_bytes`, with retries; when they are exhausted it
        raises YxanulError. A local one raises OSError.
        """
        if not self.is_remote:
            return open(self.address, "rb")
        file = remote.RemoteFile(self.address, self.size_bytes, self.fingerprint)
        return io.BufferedReader(file, buffer_bytes or remote.BUFFER_BYTES)

    def refreshed(self) -> File:
        """Return the file with its current size and time; a remote one unchanged."""
        return self if self.is_remote else local_file(Path(self.address), self.name)

    def has_random_access(self) -> bool:
        """Return whether reading can start anywhere without reading what comes before."""
        if not self.is_remote:
            return True
        if self.size_bytes is None:
            return False
        if not remote.is_web(self.address):
            return True
        with remote.RemoteFile(self.address, self.size_bytes, self.fingerprint) as file:
            file.seek(self.size_bytes // 2)
            file.readinto(bytearray(1))
            return not file.is_sequential


def local_file(path: Path, name: str | None = None) -> File:
    """Return the file at `path`, named `name` or its own; the fingerprint is size and mtime."""
    name = os.fsencode(name or path.name).decode("utf-8", "backslashreplace")
    try:
        state = path.stat()
    except OSError:  # a broken link; reading it will report it
        return File(name, str(path), 0, "unreadable")
    return File(name, str(path), state.st_size, f"{state.st_size}-{state.st_mtime_ns}")


def find_files(path: str, suffixes: Sequence[str]) -> list[File]:
    """Return the files of `path`, sorted by name; raise YxanulError if there are none.

    `suffixes` apply only inside a folder, not to an explicit file or glob.
    """
    if remote.is_remote(path):
        files = retry(lambda: _find_remote(path, suffixes), path)
    else:
        path = path.removeprefix("file://").removeprefix("local://")
        try:
            files = _find_local(path, suffixes)
        except OSError as error:
            raise YxanulError(f"{path} cannot be read", got=error.strerror) from None
    return sorted(files, key=lambda file: file.name)


def with_compressions(suffixes: Sequence[str]) -> tuple[str, ...]:
    """Return each suffix, alone and followed by that of each compression."""
    return tuple(s + c for s in suffixes for c in ("", *COMPRESSIONS))


def _find_local(path: str, suffixes: Sequence[str]) -> list[File]:
    start = expand_home(path)
    if start.is_file():
        return [local_file(start)]
    if start.is_dir():
        return _with_suffix(list(_walk(start)), suffixes, str(start))
    if glob.has_magic(path):
        return _glob_local(str(start))
    if start.exists():
        raise YxanulError(
            f"{start} is a pipe, a socket or a device",
            expected="a file or a folder, as text is read more than once",
            hint="write it to a file first",
        )
    if start.is_symlink():
        target = os.readlink(start)
        raise YxanulError(f"{start} is a broken link", got=f"the target {target}")
    raise YxanulError(f"there is no file or folder {start}", hint=_similar_path(start))


def _walk(folder: Path) -> Iterator[File]:
    def refuse(error: OSError) -> None:
        raise YxanulError(f"the folder {error.filename} cannot be read", got=error.strerror)

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(root) / name
            is_broken_link = path.is_symlink() and not path.exists()
            if not name.startswith(".") and (path.is_file() or is_broken_link):
                yield local_file(path, path.relative_to(folder).as_posix())


def _glob_local(pattern: str) -> list[File]:
    base = Path(_before_magic(pattern))
    paths = {Path(found) for found in glob.glob(pattern, recursive=True)}
    files = [local_file(p, p.relative_to(base).as_posix()) for p in paths if p.is_file()]
    if not files:
        raise YxanulError(f"no file matches {pattern}", hint=_similar_path(base))
    return files


def _before_magic(pattern: str) -> str:
    """Return the folder of a glob: the path before the first component with a wildcard."""
    while glob.has_magic(pattern):
        pattern = os.path.dirname(pattern)
    return pattern


def _with_suffix(files: Sequence[File], suffixes: Sequence[str], folder: str) -> list[File]:
    """Return the files of a folder with one of the suffixes; raise YxanulError if none has."""
    endings = with_compressions(suffixes)
    if chosen := [file for file in files if file.name.lower().endswith(endings)]:
        return chosen
    names = sorted(file.name for file in files)
    raise YxanulError(
        f"the folder {folder} has no file of a supported kind",
        got=", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3) or "no file",
        expected="names that end in " + ", ".join(suffixes) if all(suffixes) else None,
    )


def _similar_path(missing: Path) -> str | None:
    """Return a hint for a path that does not exist: a similar name next to it, if any."""
    if missing.exists():
        return None
    parent = missing.absolute().parent
    if not parent.is_dir():
        return f"{parent} {'is a file' if parent.exists() else 'does not exist either'}"
    hint = did_you_mean(missing.name, os.listdir(parent))
    if hint or missing.is_absolute():
        return hint
    return f"relative paths start at {Path.cwd()}"


def _find_remote(address: str, suffixes: Sequence[str]) -> list[File]:
    system, path = remote.file_system(address)
    system.invalidate_cache()
    is_web, folder = remote.is_web(address), path.rstrip("/")
    if not (is_web and address.endswith("/")):
        try:
            info = system.info(path)
        except Exception as error:
            if glob.has_magic(path) and is_not_found(error):
                return _glob_remote(system, path, address)
            raise
        if info["type"] == "file":
            name = folder.rpartition("/")[2].partition("?")[0]
            return [_remote_file(system, name, path, info)]
    # A web server lists a folder as a page of links at an address that ends in a slash.
    infos = system.find(folder + "/" if is_web else folder, detail=True)
    names = {
        name: path
        for name, path in _names(infos, folder).items()
        if not any(step.startswith(".") for step in name.split("/"))
    }
    # Sizes are requested only for the files that are read.
    known = [File(name, path, None, "") for name, path in names.items()]
    return [
        _remote_file(system, file.name, file.address, infos[file.address])
        for file in _with_suffix(known, suffixes, address)
    ]


def _glob_remote(system: Any, pattern: str, address: str) -> list[File]:
    matches = system.glob(pattern, detail=True)
    infos = {path: info for path, info in matches.items() if info["type"] == "file"}
    names = _names(infos, _before_magic(pattern))
    if not names:
        raise YxanulError(f"no file matches {address}")
    return [_remote_file(system, name, path, infos[path]) for name, path in names.items()]


def _names(infos: Mapping[str, Any], folder: str) -> dict[str, str]:
    """Return the paths by their names inside a folder, without folder markers."""
    named = {path.removeprefix(folder).lstrip("/"): path for path in sorted(infos)}
    return {name: path for name, path in named.items() if not name.endswith("/")}


def _remote_file(system: Any, name: str, path: str, info: dict[str, Any]) -> File:
    # A web page of links has no sizes.
    info = info if info.get("size") is not None else system.info(path)
    size_bytes, fingerprint = remote.size_and_fingerprint(info)
    name = name.encode("utf-8", "backslashreplace").decode()
    return File(name, system.unstrip_protocol(path), size_bytes, fingerprint)
