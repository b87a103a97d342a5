"""All keys that settings have, from their classes: for hints, for the page of keys, for tests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic.fields import FieldInfo

from yxanul.base.settings import Settings

NAME, NUMBER = "NAME", "N"
"""What stands in a path for a name that the user chose, and for a number in a list."""


class Key(NamedTuple):
    """One key of a group of settings."""

    path: tuple[str, ...]
    owner: type[Settings]
    field: FieldInfo

    @property
    def dotted(self) -> str:
        """The path as an override has it."""
        return ".".join(self.path)


def walk(kind: type[Settings], path: tuple[str, ...] = ()) -> Iterator[Key]:
    """Yield every key below a group of settings; of a union, those of each of its kinds."""
    for name, field in kind.model_fields.items():
        yield Key((*path, name), kind, field)
        for below, inner in groups_in(field.annotation):
            yield from walk(inner, (*path, name, *below))


def groups_in(annotation: Any) -> list[tuple[tuple[str, ...], type[Settings]]]:
    """Return the groups of settings in a type, each with what stands between."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return [((), annotation)]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return groups_in(inner[0])
    if origin is Literal:
        return []
    between = {dict: (NAME,), tuple: (NUMBER,), list: (NUMBER,)}.get(origin, ())
    found = [one for part in inner for one in groups_in(part)]
    return [((*between, *below), group) for below, group in found]


def keys_at(kind: type[Settings], loc: Sequence[str | int]) -> list[Key]:
    """Return the keys directly below a place. Where that is of one of several kinds, pydantic
    names the kind in it: then only the keys of that kind."""
    keys = list(walk(kind))
    kinds = {kind_of(key.owner) for key in keys}
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
    """Return what `kind` says of settings that are one of several kinds."""
    field = group.model_fields.get("kind")
    return None if field is None else str(field.default)
