"""Where checkpoints lie and what they are called."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 2
"""Of new checkpoints; `migrate` says which older ones are read, and how."""
MANIFEST = "manifest.json"
STATE = "state.json"
TENSORS_SUFFIX = ".safetensors"

_NAME = re.compile(r"step-(\d{8,})")


def checkpoint_name(step: int) -> str:
    """Return the folder's name for `step`: step-00001200."""
    return f"step-{step:08d}"


def step_of(name: str) -> int | None:
    """Return the step in a folder's name, or None if it is no checkpoint's."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in `folder`, as numbers, oldest first."""
    if not folder.is_dir():
        return []
    steps = (step_of(path.name) for path in folder.iterdir() if path.is_dir())
    return sorted(step for step in steps if step is not None)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint of `step`."""
    return folder / checkpoint_name(step)


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest's content, its own `checksum` apart.

    It is the same in every schema version: a flipped bit never passes for another version.
    """
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
