"""Who has which pet, hat, food ...? Three people, three things, clues that rule out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from yxanul.text.sources.builtin.draws import Draws, take_distinct
from yxanul.text.sources.builtin.puzzles.puzzle import Puzzle, PuzzleKind, listed, people_sizes
from yxanul.text.sources.builtin.word_files import names


@dataclass(frozen=True)
class Topic:
    """What the people have, in words: "Mia {has} the cat", "Mia {does} not {have} the cat"."""

    has: str
    does: str
    have: str
    each: str
    items: tuple[str, ...]


TOPICS = (
    Topic("has", "does", "have", "have", ("cat", "dog", "bird", "fish", "rabbit", "turtle")),
    Topic(
        "wears",
        "does",
        "wear",
        "wear",
        ("red hat", "blue hat", "green hat", "white hat", "black hat", "yellow hat"),
    ),
    Topic("ate", "did", "eat", "ate", ("apple", "cake", "soup", "bread", "pear", "egg")),
    Topic("plays", "does", "play", "play", ("drum", "flute", "piano", "guitar", "harp", "horn")),
    Topic("took", "did", "take", "took", ("bus", "train", "boat", "bike", "car", "plane")),
    Topic("painted", "did", "paint", "painted", ("house", "horse", "tree", "sun", "ship", "rose")),
)
NUM_ITEMS = 6

# Each person with the thing that is theirs, in the order in which the clues settle them.
Roles: TypeAlias = Sequence[tuple[str, str]]
Reasoning: TypeAlias = tuple[list[str], list[str]]  # clues, thoughts


def make_owners(choices: Sequence[int], draws: Draws) -> Puzzle:
    """Make a puzzle; the choices are the topic, three people, and the thing that each one has."""
    topic = TOPICS[choices[0]]
    people = take_distinct(names(), choices[1:4])
    items = take_distinct(topic.items, choices[4:])
    roles = draws.shuffled(list(zip(people, items, strict=True)))
    clues, thoughts = draws.pick(CLUES)(topic, roles)
    asked, answer = _asked(topic, draws.pick(roles), draws)
    intro = _intro(topic, people, draws.shuffled(items), draws)
    question = " ".join((intro, *draws.shuffled(clues), asked))
    return Puzzle("owners", question, tuple(thoughts), answer)


def _intro(topic: Topic, people: list[str], items: list[str], draws: Draws) -> str:
    things = listed([f"the {item}" for item in items])
    return draws.pick(
        (
            f"There are three friends, {listed(people)}, and three things, {things}. "
            f"Each friend {topic.has} one of them, and no two the same.",
            f"{listed(people)} each {topic.each} one of these: {things}. No two are the same.",
        )
    )


def _asked(topic: Topic, role: tuple[str, str], draws: Draws) -> tuple[str, str]:
    who, item = role
    if draws.below(2):
        return f"Who {topic.has} the {item}?", who
    return f"What {topic.does} {who} {topic.have}?", f"the {item}"


def _denied(topic: Topic, who: str, item: str) -> str:
    return f"{who} {topic.does} not {topic.have} the {item}."


def _one_is_told(topic: Topic, roles: Roles) -> Reasoning:
    (first, its), (second, seconds), (third, thirds) = roles
    denial = _denied(topic, second, thirds)
    return [f"{first} {topic.has} the {its}.", denial], [
        f"{first} {topic.has} the {its}, as the question says.",
        f"The {seconds} and the {thirds} are left for {second} and {third}.",
        f"{denial[:-1]}, so {second} {topic.has} the {seconds}.",
        f"Only the {thirds} is left, so {third} {topic.has} the {thirds}.",
    ]


def _two_things_are_denied(topic: Topic, roles: Roles) -> Reasoning:
    (first, its), (second, seconds), (third, thirds) = roles
    denials = [_denied(topic, first, seconds), _denied(topic, first, thirds)]
    last = _denied(topic, second, thirds)
    return [*denials, last], [
        f"{denials[0][:-1]} and not the {thirds}, so {first} {topic.has} the {its}.",
        f"{last[:-1]}, and the {its} is taken, so {second} {topic.has} the {seconds}.",
        f"Only the {thirds} is left, so {third} {topic.has} the {thirds}.",
    ]


def _two_people_are_denied(topic: Topic, roles: Roles) -> Reasoning:
    (first, its), (second, seconds), (third, thirds) = roles
    last = _denied(topic, third, seconds)
    neither = f"Neither {second} nor {third} {topic.has} the {its}"
    return [f"{neither}.", last], [
        f"{neither}, so {first} {topic.has} the {its}.",
        f"{last[:-1]}, and the {its} is taken, so {third} {topic.has} the {thirds}.",
        f"Only the {seconds} is left, so {second} {topic.has} the {seconds}.",
    ]


CLUES: tuple[Callable[[Topic, Roles], Reasoning], ...] = (
    _one_is_told,
    _two_things_are_denied,
    _two_people_are_denied,
)

KIND = PuzzleKind(
    lambda: (len(TOPICS), *people_sizes(3), NUM_ITEMS, NUM_ITEMS - 1, NUM_ITEMS - 2),
    make_owners,
)
