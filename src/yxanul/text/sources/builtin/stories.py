"""Children's stories, put together by a program from the tales in words/tales, one file a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TypeAlias

from yxanul.base.seeds import derive_seed
from yxanul.text.sources.builtin.draws import Draws, Plans
from yxanul.text.sources.builtin.grammar import (
    Template,
    Words,
    compile_template,
    compile_words,
    expand,
)
from yxanul.text.sources.builtin.word_files import FOLDER, read_words, ways, with_forms

DOMAIN = "stories"
BREAKS = ("\n\n", "\n\n", "\n\n", " ")  # one story in four is a single paragraph

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
    return tuple(map(_tale, sorted(path.stem for path in (FOLDER / "tales").glob("*.yaml"))))


def _tale(name: str) -> Tale:
    words = {**read_words("shared"), **read_words(f"tales/{name}")}
    slots = (
        tuple(compile_words(with_forms(option)) for option in words[choice])
        for choice in words["choices"]
    )
    paragraphs = (
        tuple(tuple(map(compile_template, ways(words[moment]))) for moment in paragraph)
        for paragraph in words["paragraphs"]
    )
    return Tale(name, with_forms(words["cast"]), tuple(slots), tuple(paragraphs))


@cache
def speech() -> dict[str, str | Template]:
    """Return the fields that say who speaks."""
    return compile_words(read_words("shared")["speech"])


@dataclass(frozen=True)
class Outline:
    """The main choices of one story: no two indexes below `plans().count` share them."""

    tale: Tale
    words: Mapping[str, str | Template]
    ways: tuple[Template, ...]
    """How each moment of the tale is told."""


def document(index: int, seed: int) -> str:
    """Return story `index` of `seed`; all stories below `plans().count` are different."""
    return tell(plan(index, seed), Draws(derive_seed(seed, DOMAIN, index)))


def plan(index: int, seed: int) -> Outline:
    """Return the main choices of story `index`."""
    kind, choices = plans().plan(index, seed)
    return chosen(tales()[kind], choices)


def chosen(tale: Tale, choices: Sequence[int]) -> Outline:
    """Return the plan of a tale with these of its `choices`."""
    words: dict[str, str | Template] = {**speech(), **tale.cast}
    for slot, choice in zip(tale.slots, choices, strict=False):
        words.update(slot[choice])
    beats = [beat for paragraph in tale.paragraphs for beat in paragraph]
    told = zip(beats, choices[len(tale.slots) :], strict=True)
    return Outline(tale, words, tuple(beat[choice] for beat, choice in told))


def tell(story: Outline, draws: Draws) -> str:
    """Write the story of a plan, with the remaining choices drawn."""
    out: list[str] = []
    between = draws.pick(BREAKS)
    ways = iter(story.ways)
    for paragraph in story.tale.paragraphs:
        for way in islice(ways, len(paragraph)):
            start = len(out)
            expand(way, story.words, draws.below, out)
            if len(out) > start:
                out.append(" ")
        out[-1] = between
    return "".join(out[:-1])


@cache
def plans() -> Plans:
    """Return the plans; beyond their `count` indexes they come round again."""
    return Plans([[len(choice) for choice in tale.choices] for tale in tales()])
