"""Number of CPU threads: half of torch's default if other processes keep the cores busy.

All threads wait for the slowest at the end of every operation. If another process competes with
one of them, a step of many small operations can take 40 times as long as on fewer threads.
"""

from __future__ import annotations

import functools
import os
from time import perf_counter

import torch

WORTH_FEWER = 1.2
"""Minimum speedup at which half the threads are preferred to all."""
_ROUNDS, _ROUND_SECONDS = 6, 0.02


@functools.cache
def usual_num_threads() -> int:
    """Return torch's default number of threads, as it was before it was changed here."""
    return torch.get_num_threads()


def best_num_threads() -> int:
    """Return torch's default number of threads, or half of it if that is clearly faster now;
    OMP_NUM_THREADS takes precedence."""
    usual, now = usual_num_threads(), torch.get_num_threads()
    if usual == 1 or "OMP_NUM_THREADS" in os.environ:
        return usual
    seconds = {usual: 0.0, usual // 2: 0.0}
    try:
        for _ in range(_ROUNDS):  # in turn, as other processes come and go
            for count in seconds:
                torch.set_num_threads(count)
                seconds[count] += 1 / _speed()
    finally:
        torch.set_num_threads(now)
    return usual // 2 if WORTH_FEWER * seconds[usual // 2] < seconds[usual] else usual


def _speed() -> float:
    """Return rounds per second of a small model's operations."""
    rows, weight = torch.ones(512, 128), torch.ones(128, 256)
    (rows @ weight).relu_()  # starts the threads
    count, start = 0, perf_counter()
    while (now := perf_counter()) < start + _ROUND_SECONDS or count == 0:
        for _ in range(4):
            (rows @ weight).relu_().sum()
        count += 1
    return count / (now - start)
