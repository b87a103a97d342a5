"""torch.compile: availability check, cache folder, and a wrapper for static shapes."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from typing import TypeVar, cast

import torch

from yxanul.base.cache import cache_folder

Function = TypeVar("Function", bound=Callable)

MAX_GRAPHS = 64
"""Recompile limit per function (shapes, kinds of layer, modes); beyond it PyTorch runs eagerly."""


@functools.cache
def compiled(function: Function) -> Function:
    """Return `function` compiled for static shapes; cached per function."""
    torch._dynamo.config.recompile_limit = max(MAX_GRAPHS, torch._dynamo.config.recompile_limit)
    return cast(Function, torch.compile(function, dynamic=False))


def keep_compiled_code() -> None:
    """Keep compiled code in the user's cache folder, unless the environment sets another one."""
    for variable, name in (("TORCHINDUCTOR_CACHE_DIR", "inductor"), ("TRITON_CACHE_DIR", "triton")):
        os.environ.setdefault(variable, str(cache_folder() / "compiled" / name))


@functools.cache
def compile_unsupported_reason(device: str) -> str | None:
    """Compile a small function on a device; return why that fails, or None if it works."""
    keep_compiled_code()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler's own deprecations
            torch.compile(lambda x: torch.nn.functional.silu(x) * x + 1)(
                torch.ones(64, device=device)
            )
    except Exception as error:  # a missing compiler fails in many ways
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None
