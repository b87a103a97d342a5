"""Finding the files behind an fsspec address: one, a folder of them, or a glob."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from typing import Any, TypeAlias

from yxanul.base.errors import YxanulError
from yxanul.text.sources import remote

Found: TypeAlias = list[tuple[str, tuple[str, int | None, str]]]
"""Names inside the source; with each its address, size and fingerprint."""


def find_remote(address: str, suffixes: Sequence[str], endings: Sequence[str]) -> Found:
    """Return the files that `address` stands for; none at all is a YxanulError.

    `endings`, which are `suffixes` and what may follow them, choose inside a folder only.
    """
    return remote.patiently(lambda _: _find(address, suffixes, tuple(endings)), address)


def _find(address: str, suffixes: Sequence[str], endings: tuple[str, ...]) -> Found:
    system, path = remote.file_system(address)
    system.invalidate_cache()
    kind, info = _kind(system, path, address)
    if kind == "file":
        name = path.rstrip("/").rpartition("/")[2].partition("?")[0]
        return [_named(name, remote.entry_of(system, path, info))]
    if kind == "directory":
        found = _in_folder(system, path.rstrip("/"), address)
        wanted = {name: one for name, one in found.items() if name.lower().endswith(endings)}
        if not wanted:
            raise no_file_to_read(address, list(found), suffixes)
        return [_named(name, _entry(system, *one)) for name, one in wanted.items()]
    return _by_glob(system, path, address)


def _kind(system: Any, path: str, address: str) -> tuple[str, dict[str, Any] | None]:
    """Return what an address is: "file" (with what is known of it), "directory" or "glob"."""
    is_web = remote.protocol_of(address) in ("http", "https")
    if is_web and address.endswith("/"):
        return "directory", None
    try:
        info = system.info(path)
    except Exception as error:
        if glob.has_magic(path) and remote.is_not_there(error):
            return "glob", None
        raise
    return info["type"], info


def _in_folder(system: Any, folder: str, address: str) -> dict[str, tuple[str, Any]]:
    # A web server lists what stands on its page of the folder, which ends in a slash.
    root = folder + "/" if remote.protocol_of(address) in ("http", "https") else folder
    return _visible(system.find(root, detail=True), folder)


def _by_glob(system: Any, pattern: str, address: str) -> Found:
    base = pattern
    while glob.has_magic(base):
        base = base.rpartition("/")[0]
    matches = system.glob(pattern, detail=True)
    files = {path: info for path, info in matches.items() if info["type"] == "file"}
    if not files:
        raise YxanulError(f"no file matches {address}")
    return [
        _named(name, _entry(system, *found))
        for name, found in _inside(files, base).items()
        if not name.endswith("/")
    ]


def _visible(files: dict[str, Any], folder: str) -> dict[str, tuple[str, Any]]:
    """Leave out hidden files and folders, and the marks of folders."""
    inside = _inside(files, folder).items()
    return {
        name: found
        for name, found in inside
        if not name.endswith("/") and not any(step.startswith(".") for step in name.split("/"))
    }


def _inside(files: dict[str, Any], folder: str) -> dict[str, tuple[str, Any]]:
    return {path.removeprefix(folder).lstrip("/"): (path, files[path]) for path in sorted(files)}


def _entry(system: Any, path: str, info: dict[str, Any]) -> remote.Entry:
    # A page of links tells no sizes.
    return remote.entry_of(system, path, info if info.get("size") is not None else None)


def _named(name: str, entry: remote.Entry) -> tuple[str, tuple[str, int | None, str]]:
    sound = name.encode("utf-8", "backslashreplace").decode()
    return sound, (entry.address, entry.size_bytes, entry.fingerprint)


def no_file_to_read(folder: str, others: Sequence[str], suffixes: Sequence[str]) -> YxanulError:
    """Return the error for a folder with nothing of the wanted kind in it."""
    some = ", ".join(others[:3])
    return YxanulError(
        f"the folder {folder} has no file to read",
        got=f"{len(others)} other files ({some} ...)" if others else "no file",
        expected="names that end in " + ", ".join(suffixes) if all(suffixes) else None,
    )
