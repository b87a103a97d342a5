"""Whether torch.compile works on this machine."""

from __future__ import annotations

import functools
import warnings

import torch


@functools.cache
def reason_against_compiling(device: str) -> str | None:
    """Return why torch.compile does not work here, or None; tried once, on a small function."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own parts about each other
            function = torch.compile(lambda x: torch.nn.functional.silu(x) * x + 1)
            function(torch.ones(64, device=device))
    except Exception as error:  # a missing compiler shows itself in many ways
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None
