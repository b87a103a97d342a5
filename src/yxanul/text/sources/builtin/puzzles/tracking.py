"""Where is it now, and where will someone look for it? A thing is moved while one is away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from yxanul.text.sources.builtin.draws import Draws, take_distinct
from yxanul.text.sources.builtin.puzzles.puzzle import Puzzle, PuzzleKind, people_sizes
from yxanul.text.sources.builtin.word_files import names

THINGS: tuple[str, ...] = (
    "ball", "book", "key", "coin", "doll", "cup", "ring", "letter", "watch", "spoon", "shell",
    "apple",
)  # fmt: skip
SPOTS: tuple[str, ...] = (
    "box", "bag", "drawer", "basket", "jar", "chest", "closet", "bucket", "suitcase", "oven",
)  # fmt: skip

# People, thing, another thing, three spots -> sentences, question, thoughts, answer.
Scene: TypeAlias = tuple[list[str], str, list[str], str]


def make_tracking(choices: Sequence[int], draws: Draws) -> Puzzle:
    """Make a puzzle; the choices are two people, the thing, and three spots in order."""
    people = take_distinct(names(), choices[:2])
    thing = THINGS[choices[2]]
    spots = take_distinct(SPOTS, choices[3:])
    told, question, thoughts, answer = draws.pick(SCENES)(people, thing, spots, draws)
    return Puzzle("tracking", " ".join((*told, question)), tuple(thoughts), answer)


def _moved_twice(people: list[str], thing: str, spots: list[str], draws: Draws) -> Scene:
    mover = draws.pick(people)
    told = [
        _puts(people[0], thing, spots[0], draws),
        _moves(people[1], thing, spots[0], spots[1], draws),
        _moves(mover, thing, spots[1], spots[2], draws),
    ]
    thoughts = [
        f"First the {thing} is in the {spots[0]}.",
        f"Then {people[1]} moves it, so it is in the {spots[1]}.",
        f"Then {mover} moves it, so it is in the {spots[2]}.",
    ]
    if draws.below(3):
        return told, f"Where is the {thing} now?", thoughts, f"in the {spots[2]}"
    question = f"Where was the {thing} before it was in the {spots[2]}?"
    thoughts.append(f"Before that, it was in the {spots[1]}.")
    return told, question, thoughts, f"in the {spots[1]}"


def _two_things(people: list[str], thing: str, spots: list[str], draws: Draws) -> Scene:
    other = draws.pick([word for word in THINGS if word != thing])
    told = [
        _puts(people[0], thing, spots[0], draws),
        _moves(people[1], thing, spots[0], spots[1], draws),
        _puts(draws.pick(people), other, spots[2], draws),
    ]
    if draws.below(2):
        thoughts = [
            f"First the {thing} is in the {spots[0]}.",
            f"Then {people[1]} moves it, so it is in the {spots[1]}.",
            f"The {other} does not matter here.",
        ]
        return told, f"Where is the {thing} now?", thoughts, f"in the {spots[1]}"
    thoughts = [
        f"The {thing} does not matter here.",
        f"The {other} is put into the {spots[2]}, and nobody moves it after that.",
    ]
    return told, f"Where is the {other} now?", thoughts, f"in the {spots[2]}"


def _behind_the_back(people: list[str], thing: str, spots: list[str], draws: Draws) -> Scene:
    away, mover = people
    told = [
        _puts(away, thing, spots[0], draws),
        draws.pick((f"{away} leaves the room.", f"Then {away} goes out.")),
        _moves(mover, thing, spots[0], spots[1], draws),
        _moves(mover, thing, spots[1], spots[2], draws),
        f"{away} comes back.",
    ]
    moves = [
        f"{mover} moves it to the {spots[1]} and then to the {spots[2]}.",
        f"{away} is away and does not see this.",
    ]
    if draws.below(2):
        question = f"Where will {away} look for the {thing} first?"
        thoughts = [
            f"{away} put the {thing} into the {spots[0]}.",
            *moves,
            f"So {away} thinks that the {thing} is still in the {spots[0]}.",
        ]
        return told, question, thoughts, f"in the {spots[0]}"
    thoughts = [
        f"First the {thing} is in the {spots[0]}.",
        *moves,
        f"But the question is where it is, so it is the {spots[2]}.",
    ]
    return told, f"Where is the {thing} really?", thoughts, f"in the {spots[2]}"


def _puts(who: str, thing: str, spot: str, draws: Draws) -> str:
    return draws.pick(
        (f"{who} puts the {thing} into the {spot}.", f"{who} lays the {thing} in the {spot}.")
    )


def _moves(who: str, thing: str, start: str, end: str, draws: Draws) -> str:
    return draws.pick(
        (
            f"{who} moves the {thing} from the {start} to the {end}.",
            f"{who} takes the {thing} out of the {start} and puts it into the {end}.",
        )
    )


SCENES: tuple[Callable[[list[str], str, list[str], Draws], Scene], ...] = (
    _moved_twice,
    _two_things,
    _behind_the_back,
)

KIND = PuzzleKind(
    lambda: (*people_sizes(2), len(THINGS), len(SPOTS), len(SPOTS) - 1, len(SPOTS) - 2),
    make_tracking,
)
