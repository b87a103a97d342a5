"""Write checkpoints atomically."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_folder, remove_leftovers, sha256_of, write_json
from yxanul.checkpoint.layout import (
    MANIFEST,
    SCHEMA_VERSION,
    STATE,
    TENSORS_SUFFIX,
    checkpoint_path,
    manifest_checksum,
)


def write_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, torch.Tensor]], state: Any
) -> Path:
    """Write `tensors` (by file: "model", "optimizer") and the plain `state` of `step`.

    The checkpoint gets its name only once all of it is on disk. On failure, such as a full disk,
    raises YxanulError and leaves existing checkpoints untouched.
    """
    check_plain(state, "state")
    path = checkpoint_path(folder, step)
    try:
        remove_leftovers(folder)
        with atomic_folder(path) as inside:
            write_json(inside / STATE, state)
            aliases = {stem: _write_tensors(inside, stem, tensors[stem]) for stem in tensors}
            write_json(inside / MANIFEST, _manifest(inside, step, aliases))
    except (OSError, SafetensorError) as error:
        if isinstance(error, SafetensorError) and _errno_of(error) is None:
            raise  # a bug of ours
        raise YxanulError(
            f"the checkpoint of step {step} could not be written",
            got=" ".join(str(error).split()),
            hint=f"earlier checkpoints are untouched; {_remedy(error)} and resume from there",
        ) from error
    return path


def place_of(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return a key of a tensor's memory: equal for tied weights, distinct otherwise."""
    memory = tensor.untyped_storage().data_ptr()
    where = (tensor.device, memory, tensor.storage_offset())
    return (*where, tensor.shape, tensor.stride(), tensor.dtype)


def _write_tensors(inside: Path, stem: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Write one file; return the aliases of tied weights: alias to name."""
    unique: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    first_of: dict[tuple[Any, ...], str] = {}
    memories: set[int] = set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        key = place_of(tensor)
        if tensor.numel() and key in first_of:
            aliases[name] = first_of[key]
            continue
        first_of[key] = name
        unique[name] = tensor.detach().clone() if memory in memories else tensor.detach()
        memories.add(memory)
    ready = {name: tensor.contiguous() for name, tensor in unique.items()}
    file = inside / f"{stem}{TENSORS_SUFFIX}"
    save_file(ready, file)
    file.chmod(
        (inside / STATE).stat().st_mode
    )  # safetensors creates files readable by the owner only
    return aliases


def _errno_of(error: OSError | SafetensorError) -> int | None:
    """Return the errno of an error, or None if it is not an OS error."""
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"os error (\d+)", str(error))
    return int(match[1]) if match else None


def _remedy(error: OSError | SafetensorError) -> str:
    if _errno_of(error) in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "make the folder writable"
    return "free some space"


def _manifest(inside: Path, step: int, aliases: Mapping[str, dict[str, str]]) -> dict[str, Any]:
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
            for file in sorted(inside.iterdir())
        },
        "aliases": {stem: names for stem, names in aliases.items() if names},
    }
    return manifest | {"checksum": manifest_checksum(manifest)}


def check_plain(value: Any, where: str) -> None:
    """Raise TypeError for values that do not round-trip through JSON."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}; JSON keys are strings")
            check_plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            check_plain(item, f"{where}[{i}]")
    elif not (value is None or isinstance(value, str | int | float)):
        raise TypeError(f"{where} is a {type(value).__name__}, which is not JSON data")
