"""Who is in the texts: children and talking animals, each with fitting pronouns."""

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
    """A child or an animal, and whether it is a he or a she."""

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
def heroes() -> tuple[Person, ...]:
    """Return the children who are in the stories."""
    return tuple(child for child in children() if child.name in read_words("cast")["heroes"])


@cache
def animals() -> tuple[Person, ...]:
    """Return the talking animals: of each kind a he and a she."""
    return tuple(
        Person(name, kind, he)
        for kind, names in read_words("cast")["animals"].items()
        for name, he in zip(names, PRONOUNS, strict=True)
    )


@cache
def names() -> tuple[str, ...]:
    """Return the names of the children."""
    return tuple(child.name for child in children())


@cache
def pairs(with_animals: bool) -> tuple[dict[str, str], ...]:
    """Return every (hero, friend) pair as one set of fields: children, then animals if asked."""
    result = []
    for group in (heroes(), animals())[: 2 if with_animals else 1]:
        first = [with_forms({"hero": who.name, "kind": who.kind, "he": who.he}) for who in group]
        second = [_friend(who, group is not heroes()) for who in group]
        result += [{**a, **b} for a in first for b in second if a["hero"] != b["friend"]]
    return tuple(result)


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


def _friend(who: Person, is_animal: bool) -> dict[str, str]:
    """Return the fields of a friend; an animal's kind is said at the first mention."""
    full = f"{who.name} the {who.kind}" if is_animal else who.name
    return with_forms({"friend": who.name, "friend_full": full, "f_he": who.he})
