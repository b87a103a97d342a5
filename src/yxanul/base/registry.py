"""Lookup in registries (OPTIMIZERS, SOURCES, TRACKERS ...)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from yxanul.base.errors import YxanulError, did_you_mean

Part = TypeVar("Part")


def lookup(table: Mapping[str, Part], name: str, kind: str) -> Part:
    """Return `table[name]`, or raise YxanulError with the closest match and all choices."""
    if name not in table:
        choices = ", ".join(sorted(table))
        raise YxanulError(
            f"unknown {kind} '{name}'", expected=f"one of {choices}", hint=did_you_mean(name, table)
        )
    return table[name]
