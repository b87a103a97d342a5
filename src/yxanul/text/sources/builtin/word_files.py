"""The words of the generators: YAML files in the folder `words`, read when a text needs them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FOLDER = Path(__file__).parent / "words"
NOTHING = "(nothing)"
PRONOUNS = {
    "he": {"him": "him", "his": "his", "himself": "himself"},
    "she": {"him": "her", "his": "her", "himself": "herself"},
}


@cache
def read_words(name: str) -> dict[str, Any]:
    """Return what words/`name`.yaml says; callers share it and must not change it.

    Every value stays text: `no` and `on` are words here.
    """
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.load(text, getattr(yaml, "CBaseLoader", yaml.BaseLoader))


def ways(text: str) -> tuple[str, ...]:
    """Return the ways to say something: one a line; an indented line goes on with the one above."""
    result: list[str] = []
    for line in text.splitlines():
        if line.startswith(" ") and result:
            result[-1] += f" {line.strip()}"
        elif line.strip():
            result.append("" if line == NOTHING else line)
    return tuple(result)


class Person(NamedTuple):
    """A child, and whether it is a he or a she."""

    name: str
    kind: str
    he: str


@cache
def children() -> tuple[Person, ...]:
    """Return the girls and then the boys."""
    cast = read_words("cast")
    girls = (Person(name, "girl", "she") for name in cast["girls"])
    return (*girls, *(Person(name, "boy", "he") for name in cast["boys"]))


@cache
def names() -> tuple[str, ...]:
    """Return the names of the children."""
    return tuple(child.name for child in children())


def with_forms(words: Mapping[str, str]) -> dict[str, str]:
    """Add what follows from `words`: the forms of a pronoun, and the plain words with a capital.

    {"o_he": "she"} also fills o_him, o_his, o_himself, O_he and so on.
    """
    forms = dict(words)
    for field, word in words.items():
        if field == "he" or field.endswith("_he"):
            forms |= {field[:-2] + form: other for form, other in PRONOUNS[word].items()}
    for field, word in tuple(forms.items()):
        if not ("{" in word or "[" in word):
            forms[field[:1].upper() + field[1:]] = word[:1].upper() + word[1:]
    return forms
