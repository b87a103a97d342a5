"""Memory that this process, or the GPU for it, holds now and held at most.

On a CPU that is resident memory, Linux only: the kernel's high-water mark is reset by writing 5 to
/proc/self/clear_refs. On a GPU it is what torch's allocator handed out.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path

import torch


def synchronise(device: torch.device) -> None:
    """Wait until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def settle(device: torch.device) -> None:
    """Give back whatever is free, so that what is held is what is needed."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        with contextlib.suppress(OSError, AttributeError):  # not glibc
            ctypes.CDLL(None).malloc_trim(0)


def reset_peak(device: torch.device) -> None:
    """Forget the peak."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def held_bytes(device: torch.device) -> int:
    """Return what is held now."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _status("VmRSS")


def peak_bytes(device: torch.device) -> int:
    """Return the most that was held since `reset_peak`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _status("VmHWM")


def _status(field: str) -> int:
    with contextlib.suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0
