"""The rule that chooses an attention back end: a rule, so that runs are alike on all machines.

On CPUs it names what was fastest on every CPU measured (docs/lab-notes.md).
"""

from __future__ import annotations

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.registry import lookup
from yxanul.model.attention import BACKENDS
from yxanul.model.attention.backend import Backend, Shape


def choose(shape: Shape, name: str, trains: bool) -> Backend:
    """Return the back end of that name, or the rule's for `auto`; an error if it is unsupported."""
    if name == "auto":
        return BACKENDS[by_rule(shape, trains)]
    backend = lookup(BACKENDS, name, "attention back end")
    reason = backend.unsupported_reason(shape)
    if reason is not None:
        raise YxanulError(f"attention back end '{name}' is not supported here", got=reason)
    return backend


def candidates(shape: Shape) -> list[str]:
    """Return the back ends that support a shape, without the reference."""
    names = (name for name in BACKENDS if name != "reference")
    return [name for name in names if BACKENDS[name].unsupported_reason(shape) is None]


def by_rule(shape: Shape, trains: bool) -> str:
    """Return the back end that is usually fastest; avoids a T x T mask where it can."""
    able = candidates(shape)
    if shape.device == "cpu":
        blockwise = not shape.is_causal_only or (trains and shape.dtype == torch.bfloat16)
        return "cpu_blockwise" if blockwise else "sdpa"
    if shape.is_causal_only:
        return "sdpa"
    order = ("flash", "varlen", "flex") if trains else ("flash", "varlen")
    return next((name for name in order if name in able), "sdpa")
