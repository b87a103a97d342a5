"""Split of a step's rows over ranks and micro-batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def micro_batches(rows: Sequence[T], micro_rows: int, rank: int, size: int) -> list[Sequence[T]]:
    """Return this rank's rows of a step, split into micro-batches of at most `micro_rows`.

    Every row belongs to exactly one rank. All ranks get the same number of micro-batches, since
    each is a collective operation; those of a rank with fewer rows may be empty.
    """
    start, end = rank * len(rows) // size, (rank + 1) * len(rows) // size
    count = math.ceil(math.ceil(len(rows) / size) / micro_rows)
    starts = range(start, start + count * micro_rows, micro_rows)
    return [rows[min(first, end) : min(first + micro_rows, end)] for first in starts]
