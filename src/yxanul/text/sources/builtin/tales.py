"""The kinds of stories: their words are in words/tales, one file a kind, and are checked here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from yxanul.text.sources.builtin.cast import with_forms
from yxanul.text.sources.builtin.grammar import (
    Template,
    Words,
    compile_template,
    compile_words,
    fields,
)
from yxanul.text.sources.builtin.word_files import FOLDER, entry, read_words, ways

CAST = ("hero", "kind", "he", "friend", "friend_full", "f_he")

# The choices for a main slot: each gives the fields that it fills.
Slot: TypeAlias = tuple[Words, ...]
# The ways to tell one moment of a tale; one is dealt. An empty one leaves the moment out.
Beat: TypeAlias = tuple[Template, ...]


@dataclass(frozen=True)
class Tale:
    """A kind of story: its hero and friend, its main slots and its paragraphs.

    Every text of it names the chosen option of every slot and tells the chosen way of every moment.
    That is what keeps two stories with different choices from being the same text.
    """

    name: str
    cast: Words
    slots: tuple[Slot, ...]
    paragraphs: tuple[tuple[Beat, ...], ...]

    @property
    def choices(self) -> tuple[Slot | Beat, ...]:
        """What a plan chooses from: the slots, and then the moments in their order."""
        return (*self.slots, *(beat for paragraph in self.paragraphs for beat in paragraph))


@cache
def tales() -> tuple[Tale, ...]:
    """Return all kinds of stories, sorted by name."""
    shared = read_words("shared")
    found = sorted(path.stem for path in (FOLDER / "tales").glob("*.yaml"))
    return tuple(make_tale(name, read_words(f"tales/{name}"), shared) for name in found)


@cache
def speech() -> dict[str, str | Template]:
    """Return the fields that say who speaks."""
    return compile_words(entry(read_words("shared"), "speech", dict, "shared.yaml"))


def make_tale(name: str, own: dict[str, Any], shared: dict[str, Any]) -> Tale:
    """Build a tale from its `own` words and the `shared` ones; ValueError says what is wrong."""
    place = f"tales/{name}.yaml"
    cast = entry(own, "cast", dict, place)
    if not _fills(cast, dict.fromkeys(CAST)):
        raise ValueError(f"{place}: the cast has to fill {', '.join(CAST)} with text")
    choices = entry(own, "choices", list, place)
    told = entry(own, "paragraphs", list, place)
    if not all(isinstance(paragraph, list) for paragraph in told):
        raise ValueError(f"{place}: a paragraph has to be a list of moments")
    used = {*choices, *(moment for paragraph in told for moment in paragraph)}
    idle = own.keys() - used - {"cast", "choices", "paragraphs"}
    if idle:
        raise ValueError(f"{place}: neither choices nor paragraphs name {_listed(idle)}")
    words = {**shared, **own}
    tale = Tale(
        name,
        with_forms(cast),
        tuple(_slot(words, choice, place) for choice in choices),
        tuple(tuple(_beat(words, moment, place) for moment in paragraph) for paragraph in told),
    )
    unknown = _needed(tale) - _filled(tale)
    if unknown:
        raise ValueError(f"{place}: nothing fills {_listed(f'{{{field}}}' for field in unknown)}")
    return tale


def _slot(words: dict[str, Any], name: str, place: str) -> Slot:
    options = entry(words, name, list, place)
    if not options or not all(_fills(option, options[0]) for option in options):
        raise ValueError(f"{place}: every option of '{name}' has to fill the same fields with text")
    try:
        return tuple(compile_words(with_forms(option)) for option in options)
    except ValueError as error:
        raise ValueError(f"{place}: in '{name}', {error}") from None


def _fills(option: Any, first: Any) -> bool:
    return (
        isinstance(option, dict)
        and option.keys() == first.keys()
        and all(isinstance(word, str) for word in option.values())
    )


def _beat(words: dict[str, Any], name: str, place: str) -> Beat:
    told = ways(entry(words, name, str, place))
    if not told:
        raise ValueError(f"{place}: '{name}' names no way to tell it")
    try:
        return tuple(compile_template(way) for way in told)
    except ValueError as error:
        raise ValueError(f"{place}: in '{name}', {error}") from None


def _filled(tale: Tale) -> set[str]:
    return {*speech(), *tale.cast, *(field for slot in tale.slots for field in slot[0])}


def _needed(tale: Tale) -> set[str]:
    """Return the fields in all that the tale can say."""
    needed = {field for template in _templates(tale) for field in fields(template)}
    spoken = (speech()[field] for field in needed & speech().keys())
    return needed.union(*(fields(template) for template in spoken if isinstance(template, tuple)))


def _templates(tale: Tale) -> Iterator[Template]:
    for paragraph in tale.paragraphs:
        for beat in paragraph:
            yield from beat
    for slot in tale.slots:
        for option in slot:
            yield from (value for value in option.values() if isinstance(value, tuple))


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
