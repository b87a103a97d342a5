"""Which rows of a step go through which process, and in which micro-batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def micro_batches(rows: Sequence[T], micro_rows: int, rank: int, size: int) -> list[Sequence[T]]:
    """Return this process's rows of a step, cut into micro-batches of at most `micro_rows`.

    Every row is some process's once. All processes have the same number of micro-batches, since
    they meet in each; those of a process that has fewer rows may be empty.
    """
    start, end = rank * len(rows) // size, (rank + 1) * len(rows) // size
    count = math.ceil(math.ceil(len(rows) / size) / micro_rows)
    starts = range(start, start + count * micro_rows, micro_rows)
    return [rows[min(at, end) : min(at + micro_rows, end)] for at in starts]
