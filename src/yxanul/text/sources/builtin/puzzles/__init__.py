"""The kinds of deduction puzzles that the domain "reasoning" is made of."""

from yxanul.text.sources.builtin.puzzles import liars, order, owners, syllogism, tracking
from yxanul.text.sources.builtin.puzzles.puzzle import PuzzleKind

PUZZLES: tuple[PuzzleKind, ...] = (
    order.THREE,
    order.FOUR,
    owners.KIND,
    liars.KIND,
    syllogism.KIND,
    tracking.KIND,
)
