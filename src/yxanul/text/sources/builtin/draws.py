"""Random choices that come out alike on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

Option = TypeVar("Option")


class Draws:
    """A stream of choices. It uses `Random.random` alone: Python promises not to change that."""

    __slots__ = ("_random",)

    def __init__(self, seed: int):
        self._random = Random(seed).random

    def below(self, count: int) -> int:
        """Return a number from 0 to `count` - 1."""
        return int(self._random() * count)

    def pick(self, options: Sequence[Option]) -> Option:
        """Return one of `options`."""
        return options[self.below(len(options))]

    def shuffled(self, items: Sequence[Option]) -> list[Option]:
        """Return `items` in another order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in items]
