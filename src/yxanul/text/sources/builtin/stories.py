"""Children's stories, put together by a program from the tales of this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

from yxanul.base.seeds import derive_seed
from yxanul.text.sources.builtin.draws import Draws
from yxanul.text.sources.builtin.grammar import Template, expand
from yxanul.text.sources.builtin.plans import Plans
from yxanul.text.sources.builtin.tales import Tale, speech, tales

DOMAIN = "stories"
BREAKS = ("\n\n", "\n\n", "\n\n", " ")  # one story in four is a single paragraph


@dataclass(frozen=True)
class Plan:
    """The main choices of one story: no two indexes below `num_stories()` share them."""

    tale: Tale
    words: Mapping[str, str | Template]
    ways: tuple[Template, ...]
    """How each moment of the tale is told."""


def document(index: int, seed: int) -> str:
    """Return story `index` of `seed`; all stories below `num_stories()` are different."""
    return tell(plan(index, seed), Draws(derive_seed(seed, DOMAIN, index)))


def num_stories() -> int:
    """Return how many indexes have a plan of their own; beyond, the plans come round again."""
    return _plans().count


def plan(index: int, seed: int) -> Plan:
    """Return the main choices of story `index`."""
    kind, choices = _plans().plan(index, seed)
    return chosen(tales()[kind], choices)


def chosen(tale: Tale, choices: Sequence[int]) -> Plan:
    """Return the plan of a tale with these of its `choices`."""
    words: dict[str, str | Template] = {**speech(), **tale.cast}
    for slot, choice in zip(tale.slots, choices, strict=False):
        words.update(slot[choice])
    beats = [beat for paragraph in tale.paragraphs for beat in paragraph]
    told = zip(beats, choices[len(tale.slots) :], strict=True)
    return Plan(tale, words, tuple(beat[choice] for beat, choice in told))


def tell(story: Plan, draws: Draws) -> str:
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
def _plans() -> Plans:
    return Plans([[len(choice) for choice in tale.choices] for tale in tales()])
