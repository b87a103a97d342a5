"""Templates: plain text with "[one|other]" choices and "{field}" places, nested as you like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias


class Field(str):
    """The name of a place in a template that the story's own words fill."""

    __slots__ = ()


# A template is a row of pieces: literal text, a field, or a choice between templates.
Template: TypeAlias = "tuple[str | Field | tuple[Template, ...], ...]"
Words: TypeAlias = Mapping[str, "str | Template"]


def compile_template(source: str) -> Template:
    """Return the pieces of `source`; a bracket that is left open is an error."""
    template, end = _sequence(source, 0)
    if end != len(source):
        raise ValueError(f"stray '{source[end]}' at {end} in {source!r}")
    return template


def compile_words(words: Mapping[str, str]) -> dict[str, str | Template]:
    """Compile the values that are themselves templates; plain words stay as they are."""
    return {
        key: compile_template(value) if "{" in value or "[" in value else value
        for key, value in words.items()
    }


def expand(template: Template, words: Words, below: Callable[[int], int], out: list[str]) -> None:
    """Append the text of `template` to `out`: choices drawn, fields filled from `words`."""
    for piece in template:
        if isinstance(piece, tuple):
            expand(piece[below(len(piece))], words, below, out)
        elif isinstance(piece, Field):
            value = words[piece]
            if isinstance(value, str):
                out.append(value)
            else:
                expand(value, words, below, out)
        else:
            out.append(piece)


def _sequence(source: str, at: int) -> tuple[Template, int]:
    pieces: list[str | Field | tuple[Template, ...]] = []
    while at < len(source) and source[at] not in "|]":
        if source[at] == "[":
            choice, at = _choice(source, at + 1)
            pieces.append(choice)
        elif source[at] == "{":
            end = source.index("}", at)
            pieces.append(Field(source[at + 1 : end]))
            at = end + 1
        else:
            end = at
            while end < len(source) and source[end] not in "[{|]":
                end += 1
            pieces.append(source[at:end])
            at = end
    return tuple(pieces), at


def _choice(source: str, at: int) -> tuple[tuple[Template, ...], int]:
    options = []
    while True:
        option, at = _sequence(source, at)
        options.append(option)
        if at >= len(source):
            raise ValueError(f"a bracket is left open in {source!r}")
        at += 1
        if source[at - 1] == "]":
            return tuple(options), at
