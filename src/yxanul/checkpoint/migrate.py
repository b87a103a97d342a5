"""Migration of checkpoints with an older schema version."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.checkpoint.layout import SCHEMA_VERSION


def _add_devices_and_scale(state: Any) -> Any:
    """Add the keys of version 2: loss scale (fp16), devices, and micro-batch rows per phase."""
    if not isinstance(state, Mapping):
        return state
    return {"loss_scale": None, "devices": 1, "micro_rows": {}} | dict(state)


MIGRATIONS: dict[int, Callable[[Any], Any]] = {1: _add_devices_and_scale}
"""By version: maps its state to the next version's. The tensors never changed so far."""


def migrated(state: Any, version: int) -> Any:
    """Return the state of a checkpoint of `version`, migrated to the current version."""
    for old in range(version, SCHEMA_VERSION):
        state = MIGRATIONS[old](state)
    return state


def check_version(path: Path, version: int) -> None:
    """Raise YxanulError if checkpoints of `version` cannot be read."""
    if version == SCHEMA_VERSION or version in MIGRATIONS:
        return
    writer = "a newer" if version > SCHEMA_VERSION else "an unknown"
    raise YxanulError(
        f"the checkpoint {path} was written by {writer} version of yxanul",
        got=f"schema version {version}",
        expected=f"{min(MIGRATIONS)} to {SCHEMA_VERSION}",
        hint="install the version that wrote it, or choose another run folder with --out",
    )
