"""Arithmetic word problems with worked steps, made from words/math.yaml: the domain "math"."""

from __future__ import annotations

import operator
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from yxanul.base.seeds import derive_seed
from yxanul.text.sources.builtin.draws import Draws, Plans, take_distinct
from yxanul.text.sources.builtin.grammar import Template, Words, compile_template, expand
from yxanul.text.sources.builtin.word_files import (
    Person,
    children,
    read_words,
    ways,
    with_forms,
)

DOMAIN = "math"
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@dataclass(frozen=True)
class Kind:
    """One kind of problem. `ranges` are what is chosen; `formulas` make the other numbers."""

    name: str
    ranges: Mapping[str, range]
    formulas: tuple[tuple[str, ...], ...]  # result, "=", left, sign, right
    things: tuple[dict[str, str], ...]
    questions: tuple[Template, ...]
    steps: tuple[tuple[Template, ...], ...]

    def work_out(self, chosen: Mapping[str, int]) -> dict[str, int]:
        """Return all numbers of a problem, those that are chosen and those that follow."""
        numbers = dict(chosen)
        for result, _, left, sign, right in self.formulas:
            numbers[result] = SIGNS[sign](numbers[left], numbers[right])
        return numbers


@cache
def kinds() -> tuple[Kind, ...]:
    """Return all kinds of problems in the order of the file."""
    words = read_words("math")
    return tuple(_kind(given, words["lists"]) for given in words["kinds"])


def _kind(given: Mapping[str, Any], lists: Mapping[str, list[str]]) -> Kind:
    return Kind(
        given["name"],
        {
            letter: range(int(first), int(last) + 1, *map(int, step))
            for letter, (first, last, *step) in given["numbers"].items()
        },
        tuple(tuple(formula.split()) for formula in given["work_out"]),
        _things(given["words"], lists),
        _templates(given["questions"]),
        tuple(map(_templates, given["steps"])),
    )


def _things(
    words: Mapping[str, list[str]], lists: Mapping[str, list[str]]
) -> tuple[dict[str, str], ...]:
    """Return every combination of entries, one of each of the named lists, as fields."""
    columns = [
        [
            dict(zip(named.split("/"), item.split("/"), strict=True))
            for name in wanted
            for item in lists[name]
        ]
        for named, wanted in words.items()
    ]
    return tuple(dict(ChainMap(*parts)) for parts in product(*columns))


def _templates(text: str) -> tuple[Template, ...]:
    return tuple(map(compile_template, ways(text)))


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
    """Return problem `index` of `seed`; all problems below `plans().count` are different."""
    return problem(index, seed).text()


def problem(index: int, seed: int) -> Problem:
    """Return problem `index` with its parts apart. Its question names every main choice."""
    draws = Draws(derive_seed(seed, DOMAIN, index))
    which, (thing, first, second, *chosen) = plans().plan(index, seed)
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
def plans() -> Plans:
    """Return the plans; beyond their `count` indexes they come round again."""
    people = (len(children()), len(children()) - 1)
    return Plans([(len(kind.things), *people, *map(len, kind.ranges.values())) for kind in kinds()])
