"""Write checkpoints atomically."""

from __future__ import annotations

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
    path = checkpoint_path(folder, step)
    try:
        remove_leftovers(folder)
        with atomic_folder(path) as inside:
            write_json(inside / STATE, state)
            for stem, named in tensors.items():
                file = inside / f"{stem}{TENSORS_SUFFIX}"
                save_file({name: one.detach().contiguous() for name, one in named.items()}, file)
                # safetensors creates files readable by the owner only
                file.chmod((inside / STATE).stat().st_mode)
            write_json(inside / MANIFEST, _manifest(inside, step))
    except (OSError, SafetensorError) as error:
        if isinstance(error, SafetensorError) and "os error" not in str(error):
            raise  # not the disk, but tensors that cannot be written
        raise YxanulError(
            f"the checkpoint of step {step} could not be written",
            got=" ".join(str(error).split()),
            hint="earlier checkpoints are untouched; free some space or make the folder writable,"
            " and resume from there",
        ) from error
    return path


def _manifest(inside: Path, step: int) -> dict[str, Any]:
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        "files": {
            file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
            for file in sorted(inside.iterdir())
        },
    }
    return manifest | {"checksum": manifest_checksum(manifest)}
