"""Names of recipe keys and values in other trainers, from other_names.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from itertools import takewhile

import yaml

_ALSO_OF_STAGES = ("optim.peak_lr", "optim.weight_decay", "optim.schedule.")
"""Keys that a stage may override: below a stage, hints refer to the stage's key."""


@cache
def other_names(table: str) -> dict[str, tuple[str, ...]]:
    """Return names elsewhere by our `keys` or `values`, or by the reason that there is `no_key`."""
    text = resources.files("yxanul.recipe").joinpath("other_names.yaml").read_text("utf-8")
    names = yaml.load(text, yaml.BaseLoader)[table]
    return {ours: tuple(theirs.split()) for ours, theirs in names.items()}


def our_keys(name: str, parents: Sequence[str | int]) -> list[str]:
    """Return our keys for another trainer's `name`: of several, those closest to `parents`."""
    at, name = [str(part) for part in parents], _plain(name)
    keys = [_at(key, at) for key, names in other_names("keys").items() if name in names]
    shared = [_num_shared(key.split("."), at) for key in keys]
    return [key for key, number in zip(keys, shared, strict=True) if number == max(shared)]


def why_without_key(name: str) -> str | None:
    """Return why another trainer's key has no equivalent here; None if it is not a known one."""
    return _ours("no_key", _plain(name))


def our_value(name: str) -> str | None:
    """Return our value for another trainer's; None if it is not a known one."""
    return _ours("values", name.lower())


def _ours(table: str, name: str) -> str | None:
    return next((ours for ours, names in other_names(table).items() if name in names), None)


def _num_shared(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _at(key: str, parents: list[str]) -> str:
    """Return a key with placeholders filled in from `parents`, as far as they match."""
    if parents[:1] == ["stages"] and key.startswith(_ALSO_OF_STAGES):
        key = f"stages.N.{key}"
    parts = key.split(".")
    for index, (part, parent) in enumerate(zip(parts, parents, strict=False)):
        if part not in ("N", "NAME", parent):
            break
        parts[index] = parent
    return ".".join(parts)
