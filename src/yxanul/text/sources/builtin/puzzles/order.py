"""Who is the tallest? People in a row, told by comparisons of neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from yxanul.text.sources.builtin.draws import Draws, take_distinct
from yxanul.text.sources.builtin.puzzles.puzzle import Puzzle, PuzzleKind, listed, people_sizes
from yxanul.text.sources.builtin.word_files import names


@dataclass(frozen=True)
class Scale:
    """The words of a comparison, from the upper end and from the lower."""

    more: str
    less: str
    most: str
    least: str


SCALES = (
    Scale("taller", "shorter", "tallest", "shortest"),
    Scale("older", "younger", "oldest", "youngest"),
    Scale("faster", "slower", "fastest", "slowest"),
    Scale("stronger", "weaker", "strongest", "weakest"),
    Scale("heavier", "lighter", "heaviest", "lightest"),
    Scale("richer", "poorer", "richest", "poorest"),
)


COUNT_WORDS = {3: "three", 4: "four"}


def make_order(choices: Sequence[int], draws: Draws) -> Puzzle:
    """Make a puzzle; the choices are the scale and the people from the upper end to the lower."""
    scale = SCALES[choices[0]]
    people = take_distinct(names(), choices[1:])
    clues = [_clue(upper, lower, scale, draws) for upper, lower in pairwise(people)]
    told = draws.shuffled(clues)
    end, place = draws.pick(_ends(len(people), scale))
    question = f"{_intro(people, draws)} {' '.join(clue for clue, _ in told)} Who {end}?"
    thoughts = (
        *(thought for _, thought in told),
        f"From the {scale.most} to the {scale.least}: {', '.join(people)}.",
        f"So {people[place]} {end}.",
    )
    return Puzzle(f"order_{COUNT_WORDS[len(people)]}", question, thoughts, people[place])


def _intro(people: list[str], draws: Draws) -> str:
    count = COUNT_WORDS[len(people)]
    listing = listed(draws.shuffled(people))
    kin = draws.pick(("friends", "children", "cousins"))
    return draws.pick((f"{listing} are {count} {kin}.", f"There are {count} {kin}: {listing}."))


def _clue(upper: str, lower: str, scale: Scale, draws: Draws) -> tuple[str, str]:
    straight = f"{upper} is {scale.more} than {lower}."
    if draws.below(2):
        return straight, f"{straight[:-1]}, as the question says."
    turned = f"{lower} is {scale.less} than {upper}."
    return turned, f"{turned[:-1]}, so {upper} is {scale.more} than {lower}."


def _ends(count: int, scale: Scale) -> list[tuple[str, int]]:
    """Return what can be asked: how the question ends, and whose place in the row it is."""
    ends = [(f"is the {scale.most}", 0), (f"is the {scale.least}", count - 1)]
    if count == 3:
        return [*ends, ("is in the middle", 1)]
    return [*ends, (f"is the second {scale.most}", 1), (f"is the second {scale.least}", count - 2)]


THREE = PuzzleKind(lambda: (len(SCALES), *people_sizes(3)), make_order)
FOUR = PuzzleKind(lambda: (len(SCALES), *people_sizes(4)), make_order)
