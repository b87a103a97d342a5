"""What the hardware is, and how this process uses its memory."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import platform
import re
import sys
import time
from pathlib import Path

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**31 - 1
_QUOTA_FILES = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""A container's quota and period in microseconds: versions 2 and 1."""


@functools.cache
def processor_name() -> str:
    """Return the name of the processor, or "" if unknown."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()


def usable_cores() -> int:
    """Return the number of cores that this process may use, in a container also by its quota."""
    return max(1, math.ceil(min(_visible_cores(), _cpu_quota())))


def free_cores(seconds: float = 0.2) -> int:
    """Return how many cores other processes leave idle most of `seconds`, during which this one
    sleeps; all if unknown."""
    before = _core_times()
    time.sleep(seconds if before else 0)
    after = _core_times()
    return _visible_cores() - sum(
        2 * (after[core][0] - idle) < after[core][1] - total
        for core, (idle, total) in before.items()
        if core in after
    )


def _visible_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_quota() -> float:
    """Return the cores that a container's quota comes to; infinity without one."""
    for names in _QUOTA_FILES:
        try:
            quota, period = " ".join(Path(name).read_text() for name in names).split()
            return int(quota) / int(period) if int(quota) > 0 else math.inf
        except (OSError, ValueError):  # ValueError: "max"
            continue
    return math.inf


def _core_times() -> dict[int, tuple[int, int]]:
    """Return the idle and the total time of each usable core in ticks; none outside Linux."""
    try:
        with open("/proc/stat") as file:
            lines = [line.split() for line in file if re.match(r"cpu\d", line)]
    except OSError:
        return {}
    times = {int(name[3:]): [int(value) for value in values] for name, *values in lines}
    usable = os.sched_getaffinity(0)
    return {core: (sum(own[3:5]), sum(own)) for core, own in times.items() if core in usable}


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next allocation; return whether that succeeded.

    By default glibc returns every large tensor to the system, and the next one of that size causes
    a page fault per 4 KiB: a tenth of the time of training on a CPU. No effect without glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Older versions reject more than 32 MiB. The other options alone would make matters worse.
    if not any(set_option(_M_MMAP_THRESHOLD, most) == 1 for most in (_LARGEST, 2**25)):
        return False
    options = ((_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, 2**26))
    return all([set_option(option, value) == 1 for option, value in options])
