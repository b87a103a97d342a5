"""Choices of a document that come out alike on every machine: drawn, or dealt by a plan."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt, prod
from random import Random
from typing import TypeVar

from yxanul.base.seeds import derive_seed

Option = TypeVar("Option")

NUM_ROUNDS = 2


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


class Plans:
    """Every kind of document has slots of known sizes; an index gets a kind and a choice a slot.

    Index -> number -> (kind, number within the kind) -> choices: each step is one to one, so
    the first `count` indexes of a seed have different plans, and the kinds come equally often.
    """

    def __init__(self, slot_sizes: Sequence[Sequence[int]]):
        self._kinds = tuple((tuple(sizes), prod(sizes)) for sizes in slot_sizes)
        self.count = len(self._kinds) * min(size for _, size in self._kinds)

    def plan(self, index: int, seed: int) -> tuple[int, list[int]]:
        """Return the kind of document `index` and its choices; beyond `count` they come again."""
        number, kind = divmod(permuted(index % self.count, self.count, seed), len(self._kinds))
        sizes, size = self._kinds[kind]
        return kind, digits(permuted(number, size, seed), sizes)


def digits(number: int, sizes: Sequence[int]) -> list[int]:
    """Write `number` in the mixed radix of `sizes`: each combination of choices exactly once."""
    result = []
    for size in sizes:
        number, digit = divmod(number, size)
        result.append(digit)
    return result


def take_distinct(options: Sequence[Option], choices: Sequence[int]) -> list[Option]:
    """Return different `options`; choice number n is among len(options) - n that are left."""
    rest = list(options)
    return [rest.pop(choice) for choice in choices]


def permuted(index: int, size: int, seed: int) -> int:
    """Map 0..size-1 onto itself, one to one, without order.

    A Feistel network over (number // width, number % width): each round shifts one half by a
    hash of the other. It walks on while it is in the last, incomplete row.
    """
    height, width, keys = _network(size, seed)
    number = index
    while True:
        row, column = divmod(number, width)
        for row_key, column_key in keys:
            row = (row + _mixed(column, row_key)) % height
            column = (column + _mixed(row, column_key)) % width
        number = row * width + column
        if number < size:
            return number


def _mixed(number: int, key: int) -> int:
    mixed = ((number ^ key) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ (mixed >> 31)) * 0xD6E8FEB86659FD93) & 0xFFFFFFFFFFFFFFFF
    return mixed >> 24


@lru_cache(maxsize=256)
def _network(size: int, seed: int) -> tuple[int, int, tuple[tuple[int, int], ...]]:
    width = isqrt(size - 1) + 1
    height = (size - 1) // width + 1
    keys = [derive_seed(seed, "permutation", size, n) for n in range(2 * NUM_ROUNDS)]
    return height, width, tuple(zip(keys[::2], keys[1::2], strict=True))
