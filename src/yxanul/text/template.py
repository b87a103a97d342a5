"""Templates such as "{question}\\nAnswer: {answer}", which make a text of several columns."""

from __future__ import annotations

from string import Formatter
from typing import TypeAlias

Pieces: TypeAlias = tuple[tuple[str, str | None], ...]
"""Literal text, each followed by the column whose value comes next (None: nothing follows)."""


def parse_template(template: str) -> Pieces:
    """Return the pieces of `template`; a ValueError says what is wrong with it. "{{" is a brace."""
    pieces = []
    for literal, column, spec, conversion in Formatter().parse(template):
        if column is not None and not column.strip():
            raise ValueError("a place in the template has no column: write {column}")
        if spec or conversion:
            raise ValueError(f"'{{{column}}}' goes on with ':' or '!': write a plain column name")
        pieces.append((literal, column))
    if not any(column for _, column in pieces):
        raise ValueError("the template names no column: write {column} where its value belongs")
    return tuple(pieces)
