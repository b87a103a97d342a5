"""Fetch shards from a remote address into the local cache: only files that changed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from yxanul.base.cache import fetched_folder
from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file, folder_lock, read_json, sha256_of, write_json
from yxanul.base.ui import Ui
from yxanul.data.manifest import SPLITS, Manifest, Split, parse_manifest, shard_files
from yxanul.data.storage import RemoteStorage

_OTHER_FILES = ("outline.json", "dropped.jsonl", "held-out.txt")


def fetch_shards(
    address: str, ui: Ui, names: Collection[str] | None = None, splits: Sequence[Split] = SPLITS
) -> Path:
    """Fetch splits of the sources (default: all) that are fully encoded at the address; return
    their local folder. Manifests of sources that are no longer encoded there are removed."""
    storage = RemoteStorage(address, fetched_folder(address))
    storage.look()
    encoded = sorted(path.parent.name for path in storage.files("*/manifest.json"))
    for manifest in set(storage.folder.glob("*/manifest.json")):
        if manifest.parent.name not in encoded:
            manifest.unlink()
    for name in encoded:
        if names is None or name in names:
            with folder_lock(storage.folder / name, wait=True):  # one process of several fetches
                _fetch_source(storage, name, splits, ui)
    return storage.folder


def _fetch_source(storage: RemoteStorage, name: str, splits: Sequence[Split], ui: Ui) -> None:
    folder = storage.folder / name
    path = folder / "manifest.json"
    content = storage.read(path) or b""
    digests = _files(folder, parse_manifest(content, path), splits)
    # The modification time and checksum of each file when it was last fetched.
    record = folder / "fetched.json"
    known: dict[str, Any] = read_json(record) if record.is_file() else {}
    missing = [file for file in digests if not _is_current(file, digests[file], known)]
    if missing:
        for file in missing:
            file.unlink(missing_ok=True)
        with ui.task(f"fetch {name}", sum(storage.size(file) or 0 for file in missing), "B") as bar:

            def check(file: Path) -> None:
                _check(file, digests[file], storage)
                bar.advance(file.stat().st_size)

            storage.pull(missing, check)
    known |= {str(file): [file.stat().st_mtime_ns, digest] for file, digest in digests.items()}
    others = [folder / other for other in _OTHER_FILES]
    if not path.is_file() or path.read_bytes() != content:
        for other in others:
            other.unlink(missing_ok=True)
    storage.pull(other for other in others if storage.size(other) is not None)
    write_json(record, known)
    with atomic_file(path) as file:
        file.write(content)


def _files(folder: Path, manifest: Manifest, splits: Sequence[Split]) -> dict[Path, str]:
    """Return the non-empty files with their checksums."""
    return {
        path: entry.sha256[end]
        for split in splits
        for number, entry in enumerate(manifest.splits[split].shards)
        for end, path in shard_files(folder / split, number).items()
        if entry.tokens
    }


def _is_current(path: Path, digest: str, known: dict[str, Any]) -> bool:
    if not path.is_file():
        return False
    return known.get(str(path)) == [path.stat().st_mtime_ns, digest] or sha256_of(path) == digest


def _check(path: Path, digest: str, storage: RemoteStorage) -> None:
    if sha256_of(path) != digest:
        path.unlink()
        raise YxanulError(
            f"{storage.address}/{path.relative_to(storage.folder).as_posix()} is damaged",
            got="a wrong checksum",
            hint="delete the folder of its source there, and run `yxanul prepare` with the recipe",
        )
