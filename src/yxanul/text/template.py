"""Templates over several columns, such as "{question}\\nAnswer: {answer}"."""

from __future__ import annotations

from string import Formatter
from typing import TypeAlias

Pieces: TypeAlias = tuple[tuple[str, str | None], ...]
"""Pairs of literal text and the column that follows it (None: none)."""


def parse_template(template: str) -> Pieces:
    """Parse `template`, in which "{{" is a literal brace; raise ValueError if it is invalid."""
    pieces = []
    for literal, column, spec, conversion in Formatter().parse(template):
        if column is not None and not column.strip():
            raise ValueError("the template has empty braces; write {column}")
        if spec or conversion:
            raise ValueError(f"'{{{column}}}' has a ':' or '!'; write a plain column name")
        pieces.append((literal, column))
    if not any(column for _, column in pieces):
        raise ValueError("the template has no column; write {column} where its value belongs")
    return tuple(pieces)
