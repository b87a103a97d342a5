"""Files of a run, read so that a missing or damaged one only leaves a gap in the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; {} if there is none that can be read."""
    try:
        content = read_json(path)
    except YxanulError:
        return {}
    return content if isinstance(content, dict) else {}


def read_recipe(path: Path) -> tuple[dict[str, Any], str]:
    """Return a resolved recipe and its text; empty if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, ValueError, yaml.YAMLError):
        return {}, ""
    return (content, text) if isinstance(content, dict) else ({}, text)


def flattened(tree: object, path: str = "") -> dict[str, Any]:
    """Return a tree's leaves by dotted path, as overrides on the command line name them."""
    if isinstance(tree, Mapping) and tree:
        items = tree.items()
    elif isinstance(tree, list) and tree and isinstance(tree[0], Mapping | list):
        items = enumerate(tree)
    else:
        return {path: tree}
    leaves: dict[str, Any] = {}
    for key, value in items:
        leaves |= flattened(value, f"{path}.{key}" if path else str(key))
    return leaves
