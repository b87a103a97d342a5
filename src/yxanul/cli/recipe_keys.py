"""The page of all keys of a recipe, from the classes of its settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from yxanul.base.settings import Settings
from yxanul.recipe import Recipe
from yxanul.recipe.keys import NAME, NUMBER, Key, groups_in, kind_of, walk
from yxanul.recipe.other_names import OTHER_NAMES, WITHOUT_KEY

_INTRODUCTION = f"""# Every key of a recipe

This page is written by `yxanul schema --markdown` from the classes of the settings; a test holds it
to them. On the command line a key is given as `key.path=value`; {NAME} stands for a name that you
choose, {NUMBER} for a number from 0 on: `stages.0.budget.steps=100`. A default of null is written
where leaving the key out has the meaning that its description says. `extends` (another recipe, or a
curriculum of a stage) stands in files only. The last column has what other trainers (transformers,
nanoGPT, nanochat, litgpt and others) call the same or nearly the same.
"""
_BOUNDS = {"gt": "> {}", "ge": ">= {}", "lt": "< {}", "le": "<= {}"}
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def recipe_keys_page() -> str:
    """Return the page as Markdown."""
    sections: dict[tuple[str, ...], list[Key]] = {}
    for key in {(key.path, key.owner): key for key in walk(Recipe)}.values():
        sections.setdefault(key.path[:-1], []).append(key)
    lines, shown = [_INTRODUCTION], dict[tuple[type[Settings], ...], str]()
    for path, keys in sections.items():
        title = f"`{'.'.join(path)}`" if path else "The top of a recipe"
        owners = tuple(dict.fromkeys(key.owner for key in keys))
        lines += [f"## {title}", ""]
        lines += [f"As {shown[owners]}."] if owners in shown else _section(keys, owners)
        lines.append("")
        shown.setdefault(owners, title)
    lines += ["## What has no key", "", "| name elsewhere | why |", "|---|---|"]
    lines += [f"| {_code(names)} | {why} |" for why, names in WITHOUT_KEY.items()]
    return "\n".join(lines) + "\n"


def _section(keys: Sequence[Key], owners: Sequence[type[Settings]]) -> list[str]:
    """Return the table of a group of settings; a key that several kinds have has one row."""
    lines = [_in_line(owners[0].__doc__ or "")]
    if kind_of(owners[0]):
        lines = [f"* `{kind_of(one)}`: {_in_line(one.__doc__ or '')}" for one in owners]
    lines += ["", "| key | type | default | meaning | elsewhere |", "|---|---|---|---|---|"]
    rows: dict[tuple[str, str], list[Key]] = {}
    for key in keys:
        if key.path[-1] != "kind":
            rows.setdefault((key.path[-1], key.field.description or ""), []).append(key)
    return lines + [_row(same, all_kinds=len(same) == len(owners)) for same in rows.values()]


def _row(same: Sequence[Key], all_kinds: bool) -> str:
    key, meaning = same[0], _in_line(same[0].field.description or "")
    if not all_kinds:
        meaning = f"{_code([str(kind_of(one.owner)) for one in same])}: {meaning}"
    cells = [
        f"`{key.path[-1]}`",
        _bounded(_type(key.field.annotation), key.field.metadata),
        _default(key),
        meaning,
        _code(OTHER_NAMES.get(key.dotted, ())),
    ]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(_type(inner[0]), inner[1:])
    if origin in (Union, UnionType):
        if all(isinstance(part, type) and kind_of(part) for part in inner if _is_group(part)):
            kinds = [f"`{kind_of(part)}`" for part in inner if _is_group(part)]
            if kinds:
                return f"a mapping; `kind` is one of {', '.join(kinds)}" + _or_null(inner)
        return " or ".join(_type(part) for part in inner)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"mapping: {_type(inner[1])} by {'name' if inner[0] is str else _type(inner[0])}"
    if annotation is NoneType:
        return "null"
    return "mapping (below)" if _is_group(annotation) else _TYPES[annotation]


def _is_group(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Settings)


def _or_null(inner: Sequence[Any]) -> str:
    return " or null" if NoneType in inner else ""


def _bounded(text: str, metadata: Sequence[Any]) -> str:
    flat = [one for each in metadata for one in getattr(each, "metadata", [each])]
    bounds = [
        shown.format(f"{getattr(one, name):,}")
        for one in flat
        for name, shown in _BOUNDS.items()
        if getattr(one, name, None) is not None
    ]
    kind, null, _ = text.partition(" or null")
    return f"{kind} {', '.join(bounds)}{null}" if bounds else text


def _default(key: Key) -> str:
    field = key.field
    if field.is_required():
        return "`preset`'s, else required" if "preset" in key.owner.model_fields else "required"
    if field.default is PydanticUndefined:
        takes_data = field.default_factory is not dict
        return "see the meaning" if takes_data else "`{}`"
    if groups_in(field.annotation) and isinstance(field.default, Settings):
        kind = kind_of(type(field.default))
        given = field.default.model_dump(mode="json", exclude_unset=True)
        return f"kind `{kind}`" if kind else f"`{_plain(given)}`" if given else "its defaults"
    return f"`{_plain(field.default)}`"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value) if value != "" else "''"


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _in_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
