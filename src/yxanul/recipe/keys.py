"""All recipe keys, from the settings classes: for hints, docs/recipe-keys.md and tests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from yxanul.base.settings import Settings

NAME, NUMBER = "NAME", "N"
"""Placeholders in a path for a user-defined name and a list index."""


class Key(NamedTuple):
    """Key of a group of settings."""

    path: tuple[str, ...]
    owner: type[Settings]
    field: FieldInfo

    @property
    def dotted(self) -> str:
        """Path in the form used by overrides."""
        return ".".join(self.path)


def walk(kind: type[Settings], path: tuple[str, ...] = ()) -> Iterator[Key]:
    """Yield all keys in a group of settings, including those of every member of a union."""
    for name, field in kind.model_fields.items():
        yield Key((*path, name), kind, field)
        for below, inner in groups_in(field.annotation):
            yield from walk(inner, (*path, name, *below))


def groups_in(annotation: Any) -> list[tuple[tuple[str, ...], type[Settings]]]:
    """Return the groups of settings in a type, each with its path of placeholders."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [((), annotation)]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return groups_in(inner[0])
    if origin is Literal:
        return []
    between = {dict: (NAME,), tuple: (NUMBER,), list: (NUMBER,)}.get(origin, ())
    groups = [pair for argument in inner for pair in groups_in(argument)]
    return [((*between, *below), group) for below, group in groups]


def keys_at(kind: type[Settings], loc: Sequence[str | int]) -> list[Key]:
    """Return the keys directly below a pydantic location. If the location names a member of a
    union, return only that member's keys."""
    keys = list(walk(kind))
    kinds = {kind_of(key.owner) for key in keys}
    # Inside a union pydantic adds labels such as "tuple[OnFail, ...]" or "function-after[...]".
    loc = [part for part in loc if "[" not in str(part)]
    return [key for key in keys if _lies_at(key, loc, kinds)]


def _lies_at(key: Key, loc: Sequence[str | int], kinds: Collection[str | None]) -> bool:
    parents, at = key.path[:-1], 0
    for number, part in enumerate(loc):
        if at < len(parents) and parents[at] in (NAME, NUMBER if isinstance(part, int) else part):
            at += 1
        elif part not in kinds or (number == len(loc) - 1 and part != kind_of(key.owner)):
            return False
    return at == len(parents)


def kind_of(group: type[Settings]) -> str | None:
    """Return the value of `kind` for settings that are a member of a union, else None."""
    field = group.model_fields.get("kind")
    return None if field is None else str(field.default)
