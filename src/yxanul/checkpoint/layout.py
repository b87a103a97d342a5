"""Paths and names of checkpoints."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 2
"""Schema version of checkpoints; no other is read."""
MANIFEST = "manifest.json"
STATE = "state.json"
TENSORS_SUFFIX = ".safetensors"

_NAME = re.compile(r"step-(\d{8,})")


def checkpoint_name(step: int) -> str:
    """Return the folder name for `step`, such as step-00001200."""
    return f"step-{step:08d}"


def step_of(name: str) -> int | None:
    """Return the step in a folder name, or None if it is not a checkpoint."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints in `folder`, ascending."""
    if not folder.is_dir():
        return []
    steps = (step_of(path.name) for path in folder.iterdir() if path.is_dir())
    return sorted(step for step in steps if step is not None)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint of `step`."""
    return folder / checkpoint_name(step)


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest without its `checksum`.

    The rule is the same in every schema version, so a flipped bit is never taken for a version.
    """
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
