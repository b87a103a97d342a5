"""All bims are daks, and Mia is a bim: made-up groups, so that only logic helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yxanul.text.sources.builtin.cast import names
from yxanul.text.sources.builtin.draws import Draws
from yxanul.text.sources.builtin.plans import take_distinct
from yxanul.text.sources.builtin.puzzles.puzzle import Puzzle, PuzzleKind

GROUPS = (
    "bim", "dak", "fen", "gop", "hup", "jat", "kel", "lom", "mip", "nad", "pok", "rud",
    "sib", "tov", "vek", "wum", "yit", "zan", "blick", "frod", "flim", "grop", "plon", "trib",
)  # fmt: skip


@dataclass(frozen=True)
class Form:
    """A form of argument over the groups {a}, {b}, {c} and the person {who}."""

    premises: tuple[str, ...]
    question: str
    thoughts: tuple[str, ...]
    answer: str


FORMS = (
    Form(
        ("All {a}s are {b}s.", "All {b}s are {c}s.", "{who} is a {a}."),
        "Is {who} a {c}?",
        (
            "{who} is a {a}, and all {a}s are {b}s, so {who} is a {b}.",
            "All {b}s are {c}s, so {who} is a {c}.",
        ),
        "yes",
    ),
    Form(
        ("All {a}s are {b}s.", "No {b} is a {c}.", "{who} is a {a}."),
        "Is {who} a {c}?",
        (
            "{who} is a {a}, and all {a}s are {b}s, so {who} is a {b}.",
            "No {b} is a {c}, so {who} is not a {c}.",
        ),
        "no",
    ),
    Form(
        ("All {a}s are {b}s.", "All {b}s are {c}s.", "{who} is not a {c}."),
        "Is {who} a {a}?",
        (
            "If {who} was a {a}, then {who} would be a {b}, because all {a}s are {b}s.",
            "Then {who} would also be a {c}, because all {b}s are {c}s.",
            "But {who} is not a {c}, so {who} is not a {a}.",
        ),
        "no",
    ),
    Form(
        ("All {a}s are {b}s.", "All {b}s are {c}s.", "{who} is a {c}."),
        "Is {who} a {a}?",
        (
            "All {a}s are {c}s, but there may be {c}s that are not {a}s.",
            "{who} may be one of these, or {who} may be a {a}.",
        ),
        "we cannot know",
    ),
    Form(
        ("Some {a}s are {b}s.", "All {b}s are {c}s.", "{who} is a {a}."),
        "Is {who} a {c}?",
        (
            "Only some {a}s are {b}s, so {who} may be a {b} or not.",
            "If not, nothing tells us whether {who} is a {c}.",
        ),
        "we cannot know",
    ),
    Form(
        ("No {a} is a {b}.", "All {c}s are {b}s.", "{who} is a {c}."),
        "Is {who} a {a}?",
        (
            "{who} is a {c}, and all {c}s are {b}s, so {who} is a {b}.",
            "If {who} was a {a}, then one {a} would be a {b}, and that cannot be.",
        ),
        "no",
    ),
    Form(
        ("All {a}s are {b}s.", "All {b}s are {c}s.", "{who} is a {b}."),
        "Is {who} a {c}?",
        (
            "{who} is a {b}, and all {b}s are {c}s, so {who} is a {c}.",
            "The {a}s do not matter here.",
        ),
        "yes",
    ),
    Form(
        ("All {a}s are {b}s.", "All {c}s are {b}s.", "{who} is a {a}."),
        "Is {who} a {c}?",
        (
            "{who} is a {a}, and all {a}s are {b}s, so {who} is a {b}.",
            "All {c}s are {b}s, but there may be {b}s that are not {c}s.",
        ),
        "we cannot know",
    ),
)


def make_syllogism(choices: Sequence[int], draws: Draws) -> Puzzle:
    """Make a puzzle; the choices are the form, the person, and the three groups."""
    form = FORMS[choices[0]]
    a, b, c = take_distinct(GROUPS, choices[2:])
    words = {"a": a, "b": b, "c": c, "who": names()[choices[1]]}
    premises = draws.shuffled(form.premises)
    question = " ".join(text.format_map(words) for text in (*premises, form.question))
    thoughts = tuple(text.format_map(words) for text in form.thoughts)
    return Puzzle("syllogism", question, thoughts, form.answer)


KIND = PuzzleKind(
    "syllogism",
    lambda: (len(FORMS), len(names()), len(GROUPS), len(GROUPS) - 1, len(GROUPS) - 2),
    make_syllogism,
)
