"""Atomic files and folders, checksums, and folder locks."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from yxanul.base.errors import YxanulError

_TEMPORARY = ".partial"
_REPLACED = f".replaced{_TEMPORARY}"


def expand_home(path: str) -> Path:
    """Return a path with a leading ~ or ~user expanded; raise YxanulError if that is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise YxanulError(
            f"{path}: the home folder is unknown", hint="write the path without the ~"
        ) from None


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that is synced and renamed to `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that is synced and renamed to `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    replaced = path.with_name(f".{path.name}.{os.getpid()}{_REPLACED}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            with open(file, "rb") as handle:
                os.fsync(handle.fileno())
        sync_folder(temporary)
        if path.exists():
            os.rename(path, replaced)
        os.rename(temporary, path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not path.exists() and replaced.exists():
            os.rename(replaced, path)
        shutil.rmtree(replaced, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files and folders that a killed process left directly in `folder`."""
    for leftover in folder.glob(f".*{_TEMPORARY}"):
        original = folder / _name_before(leftover)
        if leftover.name.endswith(_REPLACED) and not original.exists():
            os.rename(leftover, original)  # killed between two renames: this is the only copy
        elif leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def put_aside(folder: Path) -> dict[str, Path]:
    """Return the folders that `atomic_folder` has moved aside, by their original names.

    They persist only if the process died between the two renames, or if moving the old folder back
    failed; `remove_leftovers` restores them.
    """
    return {_name_before(moved): moved for moved in folder.glob(f".*{_REPLACED}")}


def _name_before(leftover: Path) -> str:
    """Return `a.b` for `.a.b.123.replaced.partial`."""
    return leftover.name[1:].rsplit(".", 3)[0]


def sync_folder(folder: Path) -> None:
    """Sync `folder`, so that renames in it survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, hint: str | None = None) -> Any:
    """Read a JSON file; raise YxanulError with `hint` if it is missing or invalid."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise YxanulError(f"{path} is missing", hint=hint) from None
    except OSError as error:
        raise YxanulError(f"cannot read {path}", got=error.strerror, hint=hint) from None
    except (ValueError, RecursionError) as error:  # ValueError: also invalid UTF-8 and huge numbers
        raise YxanulError(f"{path} is not valid JSON", got=error, hint=hint) from None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain_digest(value: object) -> str:
    """Return the SHA-256 of a JSON value as hex digits, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the lock on `folder`."""
    if not (folder / ".lock").exists():
        return False
    with open(folder / ".lock", "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def folder_lock(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock `folder` for this process, and delete files that a killed one left half-written in it;
    raise YxanulError if it is locked, or wait. The kernel releases the lock when the process
    dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise YxanulError(
                f"{folder} is in use by another process",
                got=f"process {owner}",
                hint="wait for it, stop it, or choose another folder with --out",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        for leftover in folder.glob(f".*{_TEMPORARY}"):
            if leftover.is_file():
                leftover.unlink(missing_ok=True)
        yield
