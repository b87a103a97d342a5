"""Memory of this process."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next allocation; return whether it does.

    By default glibc hands every large tensor back to the system, and the next one of that size
    costs a page fault for each 4 KiB: a tenth of the time of training on a CPU. Elsewhere than
    under glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Older versions refuse more than 32 MiB. The others alone would make matters worse.
    if not any(set_option(_M_MMAP_THRESHOLD, most) == 1 for most in (_LARGEST, 2**25)):
        return False
    options = ((_M_TRIM_THRESHOLD, _LARGEST), (_M_TOP_PAD, 2**26))
    return all([set_option(option, value) == 1 for option, value in options])
