"""Old checkpoints: what changed from version to version, and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.checkpoint.layout import SCHEMA_VERSION


def _name_devices_and_scale(state: Any) -> Any:
    """Version 2 has the scale of the loss (fp16), the devices, and the rows that fit a phase."""
    if not isinstance(state, Mapping):
        return state
    return {"loss_scale": None, "devices": 1, "micro_rows": {}} | dict(state)


MIGRATIONS: dict[int, Callable[[Any], Any]] = {1: _name_devices_and_scale}
"""By version: how a state of it becomes one of the next. The tensors never changed so far."""


def migrated(state: Any, version: int) -> Any:
    """Return the state of a checkpoint of `version` as one of today's."""
    for old in range(version, SCHEMA_VERSION):
        state = MIGRATIONS[old](state)
    return state


def check_version(path: Path, version: int) -> None:
    """Raise `YxanulError` when a checkpoint of `version` cannot be read here."""
    if version == SCHEMA_VERSION or version in MIGRATIONS:
        return
    newer = version > SCHEMA_VERSION
    raise YxanulError(
        f"the checkpoint {path} was written by {'a newer' if newer else 'an unknown'} yxanul",
        got=f"schema version {version}",
        expected=f"{min(MIGRATIONS)} to {SCHEMA_VERSION}",
        hint="install the yxanul that wrote it, or choose another run folder with --out",
    )
