"""Memory metrics: GPU memory, or the process's memory on a CPU."""

from __future__ import annotations

import contextlib
import math
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

GIB = 2**30
_STATUS = Path("/proc/self/status")
_STATM = Path("/proc/self/statm")
_FIELDS = {
    "VmRSS:": "memory/allocated_gb",
    "VmHWM:": "memory/max_allocated_gb",
    "VmSize:": "memory/reserved_gb",
}

_highest = 0
"""Peak bytes on the GPU before its statistics were last reset."""


@contextlib.contextmanager
def added_memory(device: str) -> Iterator[Callable[[], float]]:
    """Context manager: a function that returns the bytes added at the peak of what runs inside.

    On a CPU these are the resident bytes after it less those before; NaN where they are not known.
    """
    global _highest
    if device != "cuda":
        before = _resident()
        yield lambda: max(_resident() - before, 0.0)  # in this order NaN stays
        return
    import torch

    before, _highest = torch.cuda.memory_allocated(), _peak()
    torch.cuda.reset_peak_memory_stats()
    yield lambda: torch.cuda.max_memory_allocated() - before


def _peak() -> int:
    import torch

    return max(_highest, torch.cuda.max_memory_allocated())


def _resident() -> float:
    if not _STATM.exists():
        return math.nan
    return float(_STATM.read_text().split()[1]) * resource.getpagesize()


def memory_metrics(device: str) -> dict[str, float]:
    """Return the memory metrics of `device` ("cpu" or "cuda") in GiB."""
    return _gpu() if device == "cuda" else _host()


def _gpu() -> dict[str, float]:
    import torch

    return {
        "memory/allocated_gb": torch.cuda.memory_allocated() / GIB,
        "memory/max_allocated_gb": _peak() / GIB,
        "memory/reserved_gb": torch.cuda.memory_reserved() / GIB,
    }


def _host() -> dict[str, float]:
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    found = {"memory/max_allocated_gb": peak / GIB}
    if _STATUS.exists():  # Linux; some sandboxes leave VmHWM out
        for words in map(str.split, _STATUS.read_text().splitlines()):
            if words and words[0] in _FIELDS:
                found[_FIELDS[words[0]]] = int(words[1]) * 1024 / GIB
    return found
