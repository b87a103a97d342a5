"""Arithmetic word problems with worked steps, made by a program: the domain "math"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from yxanul.base.seeds import derive_seed
from yxanul.text.sources.builtin.cast import Person, children, with_forms
from yxanul.text.sources.builtin.draws import Draws
from yxanul.text.sources.builtin.grammar import Template, Words, expand
from yxanul.text.sources.builtin.math_kinds import kinds
from yxanul.text.sources.builtin.plans import Plans, take_distinct

DOMAIN = "math"


@dataclass(frozen=True)
class Problem:
    """One problem: its kind, its numbers by letter, and what is asked, worked out, answered."""

    kind: str
    numbers: dict[str, int]
    question: str
    steps: tuple[str, ...]
    answer: int

    def text(self) -> str:
        """Return the document: question, steps, and the answer after four hash signs."""
        steps = "\n".join(self.steps)
        return f"Question: {self.question}\nAnswer: {steps}\n#### {self.answer}"


def document(index: int, seed: int) -> str:
    """Return problem `index` of `seed`; all problems below `num_problems()` are different."""
    return problem(index, seed).text()


def num_problems() -> int:
    """Return how many indexes have a plan of their own; beyond, the plans come round again."""
    return _plans().count


def problem(index: int, seed: int, make_draws: Callable[[int], Draws] = Draws) -> Problem:
    """Return problem `index` with its parts apart. Its question names every main choice."""
    draws = make_draws(derive_seed(seed, DOMAIN, index))
    which, (thing, first, second, *chosen) = _plans().plan(index, seed)
    kind = kinds()[which]
    numbers = kind.work_out(
        {
            letter: span[choice]
            for (letter, span), choice in zip(kind.ranges.items(), chosen, strict=True)
        }
    )
    words = _words(kind.things[thing], take_distinct(children(), (first, second)), numbers)
    return Problem(
        kind.name,
        numbers,
        _said(draws.pick(kind.questions), words, draws),
        tuple(_said(draws.pick(ways), words, draws) for ways in kind.steps),
        numbers[f"r{len(kind.steps)}"],
    )


def _words(thing: dict[str, str], people: list[Person], numbers: dict[str, int]) -> Words:
    who, other = people
    return {
        "name": who.name,
        "other": other.name,
        **_pronouns(who.he),
        **thing,
        **{letter: str(number) for letter, number in numbers.items()},
    }


@cache
def _pronouns(he: str) -> dict[str, str]:
    return with_forms({"he": he})


def _said(template: Template, words: Words, draws: Draws) -> str:
    out: list[str] = []
    expand(template, words, draws.below, out)
    return "".join(out)


@cache
def _plans() -> Plans:
    people = (len(children()), len(children()) - 1)
    return Plans([(len(kind.things), *people, *map(len, kind.ranges.values())) for kind in kinds()])
