"""What a puzzle is, and the people in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from yxanul.text.sources.builtin.draws import Draws
from yxanul.text.sources.builtin.word_files import names


@dataclass(frozen=True)
class Puzzle:
    """One puzzle: the question, the thoughts that solve it line by line, the answer."""

    kind: str
    question: str
    thoughts: tuple[str, ...]
    answer: str

    def text(self) -> str:
        """Return the document: question, thoughts between think tags, answer."""
        thoughts = "\n".join(self.thoughts)
        return f"Question: {self.question}\n<think>\n{thoughts}\n</think>\nAnswer: {self.answer}"


@dataclass(frozen=True)
class PuzzleKind:
    """A kind of puzzle: the sizes of its main slots, and how their choices become a puzzle.

    The text of a puzzle determines the choices, so that different choices give different texts.
    """

    slot_sizes: Callable[[], tuple[int, ...]]
    make: Callable[[Sequence[int], Draws], Puzzle]


def listed(items: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return f"{', '.join(items[:-1])} and {items[-1]}"


def people_sizes(count: int) -> tuple[int, ...]:
    """Return the slot sizes for `count` different people in order."""
    return tuple(len(names()) - n for n in range(count))
