"""Small deduction puzzles with the thoughts that solve them, made by a program."""

from __future__ import annotations

from functools import cache

from yxanul.base.seeds import derive_seed
from yxanul.text.sources.builtin.draws import Draws, Plans
from yxanul.text.sources.builtin.puzzles import liars, order, owners, syllogism, tracking
from yxanul.text.sources.builtin.puzzles.puzzle import Puzzle, PuzzleKind

DOMAIN = "reasoning"
PUZZLES: tuple[PuzzleKind, ...] = (
    order.THREE,
    order.FOUR,
    owners.KIND,
    liars.KIND,
    syllogism.KIND,
    tracking.KIND,
)


def document(index: int, seed: int) -> str:
    """Return puzzle `index` of `seed`; all puzzles below `plans().count` are different."""
    return puzzle(index, seed).text()


def puzzle(index: int, seed: int) -> Puzzle:
    """Return puzzle `index` with its parts apart."""
    which, choices = plans().plan(index, seed)
    return PUZZLES[which].make(choices, Draws(derive_seed(seed, DOMAIN, index)))


@cache
def plans() -> Plans:
    """Return the plans; beyond their `count` indexes they come round again."""
    return Plans([kind.slot_sizes() for kind in PUZZLES])
