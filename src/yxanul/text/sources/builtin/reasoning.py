"""Small deduction puzzles with the thoughts that solve them, made by a program."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from yxanul.base.seeds import derive_seed
from yxanul.text.sources.builtin.draws import Draws
from yxanul.text.sources.builtin.plans import Plans
from yxanul.text.sources.builtin.puzzles import PUZZLES
from yxanul.text.sources.builtin.puzzles.puzzle import Puzzle

DOMAIN = "reasoning"


def document(index: int, seed: int) -> str:
    """Return puzzle `index` of `seed`; all puzzles below `num_puzzles()` are different."""
    return puzzle(index, seed).text()


def num_puzzles() -> int:
    """Return how many indexes have a plan of their own; beyond, the plans come round again."""
    return _plans().count


def puzzle(index: int, seed: int, make_draws: Callable[[int], Draws] = Draws) -> Puzzle:
    """Return puzzle `index` with its parts apart."""
    which, choices = _plans().plan(index, seed)
    return PUZZLES[which].make(choices, make_draws(derive_seed(seed, DOMAIN, index)))


@cache
def _plans() -> Plans:
    return Plans([kind.slot_sizes() for kind in PUZZLES])
