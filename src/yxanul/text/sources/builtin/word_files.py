"""The words of the generators: YAML files in the folder `words`, read when a text needs them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

FOLDER = Path(__file__).parent / "words"
NOTHING = "(nothing)"

Value = TypeVar("Value")


@cache
def read_words(name: str) -> dict[str, Any]:
    """Return what words/`name`.yaml says; callers share it and must not change it."""
    path = FOLDER / f"{name}.yaml"
    return parse_words(path.read_text(encoding="utf-8"), f"{name}.yaml")


def parse_words(text: str, name: str) -> dict[str, Any]:
    """Return the mapping that `text` holds. Every value stays text: `no` and `on` are words here.

    Raises ValueError, with the file's `name` and the line, for what is not valid YAML, has a key
    twice or is no mapping.
    """
    try:
        node = yaml.compose(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is not valid YAML: {error}") from None
    words = _plain(node, name)
    if not isinstance(words, dict):
        raise ValueError(f"{name} has to be a mapping of names to words")
    return words


def entry(words: dict[str, Any], key: str, kind: type[Value], place: str) -> Value:
    """Return words[key], or raise ValueError where it is missing or of another kind."""
    names = {str: "text", list: "a list", dict: "a mapping"}
    if not isinstance(words, dict) or key not in words:
        raise ValueError(f"{place}: '{key}' is missing")
    if not isinstance(words[key], kind):
        raise ValueError(f"{place}: '{key}' has to be {names[kind]}")
    return words[key]


def ways(text: str) -> tuple[str, ...]:
    """Return the ways to say something: one a line; an indented line goes on with the one above."""
    result: list[str] = []
    for line in text.splitlines():
        if line.startswith(" ") and result:
            result[-1] += f" {line.strip()}"
        elif line.strip():
            result.append("" if line == NOTHING else line)
    return tuple(result)


def _plain(node: Any, name: str) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, name) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return node and node.value
    mapping: dict[str, Any] = {}
    for key, value in node.value:
        if key.value in mapping:
            line = key.start_mark.line + 1
            raise ValueError(f"{name}: the key '{key.value}' stands twice, again in line {line}")
        mapping[key.value] = _plain(value, name)
    return mapping
