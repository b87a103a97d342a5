"""Who is in the texts: children, each with fitting pronouns."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from yxanul.text.sources.builtin.word_files import read_words

PRONOUNS = {
    "he": {"him": "him", "his": "his", "himself": "himself"},
    "she": {"him": "her", "his": "her", "himself": "herself"},
}


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
            if word not in PRONOUNS:
                raise ValueError(f"'{field}' has to be he or she, not '{word}'")
            forms |= {field[:-2] + form: other for form, other in PRONOUNS[word].items()}
    for field, word in tuple(forms.items()):
        if not ("{" in word or "[" in word):
            forms[field[:1].upper() + field[1:]] = word[:1].upper() + word[1:]
    return forms
