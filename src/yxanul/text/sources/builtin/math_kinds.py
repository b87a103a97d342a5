"""The kinds of arithmetic problems, as words/math.yaml describes them: read and checked."""

from __future__ import annotations

import operator
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from yxanul.text.sources.builtin.grammar import Template, compile_template, fields
from yxanul.text.sources.builtin.word_files import entry, read_words, ways

FILE = "math.yaml"
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
PEOPLE = {"name", "other", "he", "He", "him"}


@dataclass(frozen=True)
class Kind:
    """One kind of problem. `ranges` are what is chosen; `formulas` make the other numbers."""

    name: str
    ranges: Mapping[str, range]
    formulas: tuple[tuple[str, ...], ...]  # result, left, sign, right
    things: tuple[dict[str, str], ...]
    questions: tuple[Template, ...]
    steps: tuple[tuple[Template, ...], ...]

    def work_out(self, chosen: Mapping[str, int]) -> dict[str, int]:
        """Return all numbers of a problem, those that are chosen and those that follow."""
        numbers = dict(chosen)
        for result, left, sign, right in self.formulas:
            numbers[result] = SIGNS[sign](numbers[left], numbers[right])
        return numbers


@cache
def kinds() -> tuple[Kind, ...]:
    """Return all kinds of problems in the order of the file."""
    words = read_words("math")
    lists = entry(words, "lists", dict, FILE)
    return tuple(make_kind(kind, lists) for kind in entry(words, "kinds", list, FILE))


def make_kind(given: dict[str, Any], lists: Mapping[str, list[str]]) -> Kind:
    """Build a kind from its words and the `lists` they name; ValueError says what is wrong."""
    place = f"{FILE}: {entry(given, 'name', str, FILE)}"
    ranges = entry(given, "numbers", dict, place)
    formulas = entry(given, "work_out", list, place)
    try:
        kind = Kind(
            given["name"],
            {letter: _range(bounds) for letter, bounds in ranges.items()},
            tuple(_formula(formula) for formula in formulas),
            _things(entry(given, "words", dict, place), lists),
            _templates(entry(given, "questions", str, place)),
            tuple(map(_templates, entry(given, "steps", list, place))),
        )
        known = kind.work_out({letter: span[0] for letter, span in kind.ranges.items()}).keys()
    except KeyError as error:
        raise ValueError(f"{place}: nothing is called {error}") from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    said = {field for way in (*kind.questions, *sum(kind.steps, ())) for field in fields(way)}
    unknown = said - known - kind.things[0].keys() - PEOPLE
    if unknown:
        raise ValueError(f"{place}: nothing fills {', '.join(sorted(unknown))}")
    if f"r{len(kind.steps)}" not in known:
        raise ValueError(f"{place}: the last step is to result in r{len(kind.steps)}, the answer")
    return kind


def _range(bounds: Any) -> range:
    """Return the numbers from [first, last] or [first, last, step]."""
    if isinstance(bounds, list) and len(bounds) in (2, 3) and all(map(str.isdigit, bounds)):
        first, last, *step = map(int, bounds)
        if first <= last and 0 not in step:
            return range(first, last + 1, *step)
    raise ValueError(f"{bounds} is not [first, last] or [first, last, step]")


def _formula(text: str) -> tuple[str, ...]:
    """Split a formula such as "r1 = a + b"."""
    match text.split():
        case [result, "=", left, sign, right] if sign in SIGNS:
            return result, left, sign, right
    raise ValueError(f"'{text}' is not a formula such as r1 = a + b")


def _things(words: Mapping[str, Any], lists: Mapping[str, list[str]]) -> tuple[dict[str, str], ...]:
    """Return every combination of entries, one of each of the named lists, as fields."""
    columns = []
    for named, wanted in words.items():
        if not isinstance(wanted, list):
            raise ValueError(f"'{named}' has to be a list of lists, not {wanted}")
        entries = [item for name in wanted for item in lists[name]]
        if any(item.count("/") != named.count("/") for item in entries):
            raise ValueError(f"not every entry of {', '.join(wanted)} fills {named}")
        columns.append(
            [dict(zip(named.split("/"), item.split("/"), strict=True)) for item in entries]
        )
    return tuple(dict(ChainMap(*parts)) for parts in product(*columns))


def _templates(text: Any) -> tuple[Template, ...]:
    told = ways(text) if isinstance(text, str) else ()
    if not told:
        raise ValueError(f"a step or a question has to be text in quotes or in lines, not {text!r}")
    return tuple(map(compile_template, told))
