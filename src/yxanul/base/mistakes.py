"""What is wrong with settings that people wrote: a line for each mistake, with its place."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from yxanul.base.errors import near_miss
from yxanul.base.marked_yaml import Keys, MarkedTree
from yxanul.base.settings import Settings

_WRONG_KIND, _NO_KIND = "union_tag_invalid", "union_tag_not_found"


def mistake_lines(tree: MarkedTree, error: ValidationError, kind: type[Settings]) -> list[str]:
    """Return a line for each mistake in `tree`, which should have become settings of `kind`.

    What only follows from another mistake is left out: a default that could not be computed, a
    list that is too short because its items are wrong.
    """
    mistakes = [dict(mistake) for mistake in error.errors()]
    own = [mistake for mistake in mistakes if not _follows(mistake, mistakes)]
    return list(dict.fromkeys(_line(tree, mistake, kind) for mistake in own))


def _follows(mistake: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> bool:
    if mistake["type"] == "default_factory_not_called":
        return True
    loc = mistake["loc"]
    below = (other["loc"] for other in others if len(other["loc"]) > len(loc))
    return mistake["type"] == "too_short" and any(one[: len(loc)] == loc for one in below)


def _line(tree: MarkedTree, mistake: dict[str, Any], kind: type[Settings]) -> str:
    """Say one mistake in one line: place, key, what is wrong, what was probably meant."""
    loc = mistake["loc"]
    if mistake["type"] in (_WRONG_KIND, _NO_KIND):
        loc = (*loc, mistake["ctx"]["discriminator"].strip("'"))
    keys = _keys_in_tree(tree.value, loc, mistake["type"])
    place, dotted = tree.mark(keys), ".".join(map(str, keys))
    return ": ".join(part for part in (place, dotted, _text(mistake, kind)) if part)


def _text(mistake: dict[str, Any], kind: type[Settings]) -> str:
    match mistake["type"]:
        case "extra_forbidden":
            *parents, key = mistake["loc"]
            return _with_hint("unknown key", str(key), _known_keys(kind, parents))
        case "missing" | "union_tag_not_found":
            return "this key is missing"
        case "union_tag_invalid":
            tag, wanted = mistake["ctx"]["tag"], mistake["ctx"]["expected_tags"]
            return _with_hint(f"input should be {wanted}, found '{tag}'", tag, _quoted(wanted))
    text = str(mistake["msg"]).removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    found = mistake["input"]
    if mistake["type"] != "value_error" and not isinstance(found, dict | list):
        text += f", found {found!r}"
    if mistake["type"] == "literal_error" and isinstance(found, str):
        return _with_hint(text, found, _quoted(mistake["ctx"]["expected"]))
    return text


def _with_hint(text: str, word: str, options: Collection[str]) -> str:
    hint = near_miss(word, options)
    return f"{text}; {hint}" if hint else text


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _keys_in_tree(value: Any, loc: Sequence[str | int], kind: str) -> Keys:
    """Turn pydantic's location into keys of the tree: it also names the kinds of unions."""
    keys: list[str | int] = []
    for part in loc:
        if part in _keys_of(value):
            value = value[part]
            keys.append(part)
    if kind in ("missing", _NO_KIND):
        keys.append(loc[-1])
    return tuple(keys)


def _known_keys(kind: type[Settings], loc: Sequence[str | int]) -> set[str]:
    """Return the keys that the schema knows at a location."""
    schema = kind.model_json_schema()
    nodes = [schema]
    for part in loc:
        below: list[dict[str, Any]] = []
        for node in _alternatives(nodes, schema):
            if part in node.get("properties", {}):
                below.append(node["properties"][part])
            elif isinstance(node.get("additionalProperties"), dict):
                below.append(node["additionalProperties"])
            elif isinstance(part, int) and isinstance(node.get("items"), dict):
                below.append(node["items"])
        nodes = below or nodes
    known = [node.get("properties", {}) for node in _alternatives(nodes, schema)]
    return {name for properties in known for name in properties}


def _alternatives(nodes: list[dict[str, Any]], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Follow references and unions until plain nodes are left."""
    plain: list[dict[str, Any]] = []
    queue = list(nodes)
    while queue:
        node = queue.pop()
        if "$ref" in node:
            queue.append(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])
        queue += node.get("anyOf", []) + node.get("oneOf", []) + node.get("allOf", [])
        plain.append(node)
    return plain


def _keys_of(value: Any) -> Collection[str | int]:
    """Return what can stand in brackets behind a value."""
    if isinstance(value, dict):
        return value.keys()
    return range(len(value)) if isinstance(value, list) else ()
