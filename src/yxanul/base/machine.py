"""Hardware identification."""

from __future__ import annotations

import functools
import platform


@functools.cache
def processor_name() -> str:
    """Return the name of the processor, or "" if unknown."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()
