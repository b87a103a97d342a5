"""Shards from an address: whole files are copied to this machine, and only those that changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yxanul.base.cache import fetched_folder
from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file, read_json, sha256_of, write_json
from yxanul.base.ui import Ui
from yxanul.data.manifest import SPLITS, Manifest, Split, parse_manifest, shard_files
from yxanul.data.storage import RemoteStorage

_BESIDE = ("outline.json", "dropped.jsonl", "held-out.txt")


def fetch_shards(
    address: str, ui: Ui, names: Sequence[str] | None = None, splits: Sequence[Split] = SPLITS
) -> Path:
    """Bring splits of sources here, by default of all, and return the folder they lie in."""
    place = RemoteStorage(address, fetched_folder(address))
    place.look()
    if names is None:
        names = place.sources()
        for gone in set(place.folder.glob("*/manifest.json")):
            if gone.parent.name not in names:
                gone.unlink()
    for name in names:
        _fetch_source(place, name, splits, ui)
    return place.folder


def _fetch_source(place: RemoteStorage, name: str, splits: Sequence[Split], ui: Ui) -> None:
    folder = place.folder / name
    path = folder / "manifest.json"
    content = place.read(path)
    if content is None:
        raise YxanulError(
            f"the source '{name}' is not encoded at {place.address}, or not to its end",
            hint="run yxanul prepare",
        )
    wanted = _files(folder, parse_manifest(_parse(content), path), splits)
    known = _known(folder)
    missing = [one for one in wanted if not _is_here(one, wanted[one], known)]
    if missing:
        with ui.task(f"fetch {name}", sum(place.size(one) or 0 for one in missing), "B") as bar:
            for one in missing:
                one.unlink(missing_ok=True)
            for one in place.fetch(missing):
                _check(one, wanted[one], place)
                bar.advance(one.stat().st_size)
    known |= {str(one): [one.stat().st_mtime_ns, digest] for one, digest in wanted.items()}
    if not path.is_file() or path.read_bytes() != content:
        for beside in _BESIDE:
            (folder / beside).unlink(missing_ok=True)
    place.pull(folder / beside for beside in _BESIDE)
    write_json(folder / "fetched.json", known)
    with atomic_file(path) as file:
        file.write(content)


def _files(folder: Path, manifest: Manifest, splits: Sequence[Split]) -> dict[Path, str]:
    """Return the files that hold something, with their checksums."""
    return {
        path: entry.sha256[end]
        for split in splits
        for number, entry in enumerate(manifest.splits[split].shards)
        for end, path in shard_files(folder / split, number).items()
        if entry.tokens
    }


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _known(folder: Path) -> dict[str, Any]:
    """Return the checksums that files had when they were last written."""
    path = folder / "fetched.json"
    return read_json(path) if path.is_file() else {}


def _is_here(path: Path, digest: str, known: dict[str, Any]) -> bool:
    if not path.is_file():
        return False
    return known.get(str(path)) == [path.stat().st_mtime_ns, digest] or sha256_of(path) == digest


def _check(path: Path, digest: str, place: RemoteStorage) -> None:
    if sha256_of(path) != digest:
        path.unlink()
        raise YxanulError(
            f"{place.address}/{path.relative_to(place.folder).as_posix()} is damaged",
            got="its checksum is wrong",
            hint="delete its source's folder there and run yxanul prepare",
        )
