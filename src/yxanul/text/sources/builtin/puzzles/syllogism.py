"""All bims are daks, and Mia is a bim: made-up groups, so that only logic helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from yxanul.text.sources.builtin.draws import Draws, take_distinct
from yxanul.text.sources.builtin.puzzles.puzzle import Puzzle, PuzzleKind
from yxanul.text.sources.builtin.word_files import names, read_words, ways


@dataclass(frozen=True)
class Form:
    """A form of argument over the groups {a}, {b}, {c} and the person {who}."""

    premises: tuple[str, ...]
    question: str
    thoughts: tuple[str, ...]
    answer: str


def make_syllogism(choices: Sequence[int], draws: Draws) -> Puzzle:
    """Make a puzzle; the choices are the form, the person, and the three groups."""
    form = _forms()[choices[0]]
    a, b, c = take_distinct(_groups(), choices[2:])
    words = {"a": a, "b": b, "c": c, "who": names()[choices[1]]}
    premises = draws.shuffled(form.premises)
    question = " ".join(text.format_map(words) for text in (*premises, form.question))
    thoughts = tuple(text.format_map(words) for text in form.thoughts)
    return Puzzle("syllogism", question, thoughts, form.answer)


@cache
def _forms() -> tuple[Form, ...]:
    return tuple(
        Form(tuple(form["premises"]), form["question"], ways(form["thoughts"]), form["answer"])
        for form in read_words("syllogism")["forms"]
    )


def _groups() -> list[str]:
    return read_words("syllogism")["groups"]


def _slot_sizes() -> tuple[int, ...]:
    groups = len(_groups())
    return len(_forms()), len(names()), groups, groups - 1, groups - 2


KIND = PuzzleKind(_slot_sizes, make_syllogism)
