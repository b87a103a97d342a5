"""Read and verify checkpoints; errors name the damaged file, and nothing is half loaded."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from yxanul.base.errors import YxanulError
from yxanul.base.files import put_aside, sha256_of
from yxanul.checkpoint.layout import (
    MANIFEST,
    SCHEMA_VERSION,
    STATE,
    TENSORS_SUFFIX,
    checkpoint_path,
    checkpoint_steps,
    manifest_checksum,
    step_of,
)


class CheckpointDamaged(YxanulError):
    """A checkpoint whose files differ from what was written."""


def read_checkpoint(
    path: Path, only: Collection[str] | None = None
) -> tuple[dict[str, dict[str, torch.Tensor]], Any]:
    """Return the tensors by file ("model", "optimizer") and the state, with checksums verified.

    `only` limits which tensor files are read and verified. Raises CheckpointDamaged.
    """
    manifest = read_manifest(path)
    stems = [stem for stem in _stems(manifest) if only is None or stem in only]
    for missing in set(only or ()) - set(stems):
        raise _damaged(path, f"{missing}{TENSORS_SUFFIX}", "it is not in the manifest")
    for name in [STATE, *(stem + TENSORS_SUFFIX for stem in stems)]:
        _verify_file(path, name, manifest["files"])
    return {stem: _load(path, stem) for stem in stems}, _read_json(path, STATE)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint.

    Raises CheckpointDamaged if it is invalid, and YxanulError if its version is unsupported: that
    is not damage, and no reason to fall back to an older checkpoint.
    """
    manifest = _read_json(path, MANIFEST)
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise _damaged(path, MANIFEST, "it has no schema_version")
    if manifest.get("checksum") != manifest_checksum(manifest):
        raise _damaged(path, MANIFEST, "its checksum does not match its content")
    if version != SCHEMA_VERSION:
        raise YxanulError(
            f"the checkpoint {path} was written by another version of yxanul",
            got=f"schema version {version}",
            expected=SCHEMA_VERSION,
            hint="install the version that wrote it, or choose another run folder with --out",
        )
    return manifest


def tensor_files(path: Path) -> list[str]:
    """Return the names of a checkpoint's tensor files, without suffix."""
    return _stems(read_manifest(path))


def verify_checkpoint(path: Path) -> None:
    """Verify every file against the manifest; raise CheckpointDamaged at the first mismatch."""
    manifest = read_manifest(path)
    for name in manifest["files"]:
        _verify_file(path, name, manifest["files"])


def looks_whole(path: Path) -> bool:
    """Tell whether every file exists with its full size; contents are not read."""
    try:
        files = read_manifest(path)["files"]
        return all((path / name).stat().st_size == entry["bytes"] for name, entry in files.items())
    except (CheckpointDamaged, OSError):
        return False


def newest_intact(folder: Path) -> tuple[Path | None, list[CheckpointDamaged]]:
    """Return the newest undamaged checkpoint, and the errors of newer ones."""
    damaged: list[CheckpointDamaged] = []
    for _, path in sorted(_candidates(folder).items(), reverse=True):
        try:
            verify_checkpoint(path)
        except CheckpointDamaged as error:
            damaged.append(error)
        else:
            return path, damaged
    return None, damaged


def _candidates(folder: Path) -> dict[int, Path]:
    """Return the checkpoints by step. If a process died while replacing a checkpoint, the old one
    counts: it may be the only one."""
    aside = {step_of(name): path for name, path in put_aside(folder).items()}
    current = {step: checkpoint_path(folder, step) for step in checkpoint_steps(folder)}
    return {step: path for step, path in aside.items() if step is not None} | current


def _stems(manifest: dict[str, Any]) -> list[str]:
    names = manifest["files"]
    return [n.removesuffix(TENSORS_SUFFIX) for n in names if n.endswith(TENSORS_SUFFIX)]


def _verify_file(path: Path, name: str, files: dict[str, Any]) -> None:
    entry = files[name]
    with _damage_in(path, name):
        size = (path / name).stat().st_size
        if size != entry["bytes"]:
            raise _damaged(path, name, f"{size:,} bytes instead of {entry['bytes']:,}")
        if sha256_of(path / name) != entry["sha256"]:
            raise _damaged(path, name, "its checksum does not match the manifest")


def _read_json(path: Path, name: str) -> Any:
    with _damage_in(path, name):
        return json.loads((path / name).read_text())


def _load(path: Path, stem: str) -> dict[str, torch.Tensor]:
    with _damage_in(path, name := stem + TENSORS_SUFFIX):
        return load_file(path / name)


@contextlib.contextmanager
def _damage_in(path: Path, name: str) -> Iterator[None]:
    """Context manager: an error of reading a file means that the checkpoint is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise _damaged(path, name, "it is missing") from None
    except OSError as error:
        raise _damaged(path, name, f"it cannot be read ({error})") from error
    except SafetensorError as error:
        raise _damaged(path, name, f"it is not a valid safetensors file ({error})") from error
    except ValueError as error:
        raise _damaged(path, name, f"it is not valid JSON ({error})") from None


def _damaged(path: Path, name: str, reason: str) -> CheckpointDamaged:
    return CheckpointDamaged(f"the checkpoint {path} is damaged: {name}: {reason}")
