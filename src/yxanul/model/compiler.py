"""Whether torch.compile works on this machine, and where it keeps what it compiled."""

from __future__ import annotations

import functools
import os
import warnings

import torch

from yxanul.base.cache import cache_folder


def keep_compiled_code() -> None:
    """Let compiled code survive in the user's cache folder, unless another place is named."""
    for variable, name in (("TORCHINDUCTOR_CACHE_DIR", "inductor"), ("TRITON_CACHE_DIR", "triton")):
        os.environ.setdefault(variable, str(cache_folder() / "compiled" / name))


@functools.cache
def reason_against_compiling(device: str) -> str | None:
    """Return why torch.compile does not work here, or None; tried once, on a small function."""
    keep_compiled_code()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own parts about each other
            function = torch.compile(lambda x: torch.nn.functional.silu(x) * x + 1)
            function(torch.ones(64, device=device))
    except Exception as error:  # a missing compiler shows itself in many ways
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None
