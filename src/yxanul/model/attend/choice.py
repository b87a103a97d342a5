"""Which attention back end to use for a shape: a rule, so that a run is the same on any machine.

On CPUs it names what was fastest on each that was measured (docs/lab-notes.md).
"""

from __future__ import annotations

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.tables import pick
from yxanul.model.attend import BACKENDS
from yxanul.model.attend.backend import Backend, Shape


def choose(shape: Shape, name: str, trains: bool) -> Backend:
    """Return the back end of that name or, for `auto`, the rule's; errors if it cannot do it."""
    if name == "auto":
        return BACKENDS[by_rule(shape, trains)]
    backend = pick(BACKENDS, name, "attention back end")
    reason = backend.reason_against(shape)
    if reason is not None:
        raise YxanulError(f"attention back end '{name}' cannot be used here", found=reason)
    return backend


def candidates(shape: Shape) -> list[str]:
    """Return the back ends that can do a shape; the definition itself is not one of them."""
    names = (name for name in BACKENDS if name != "plain")
    return [name for name in names if BACKENDS[name].reason_against(shape) is None]


def by_rule(shape: Shape, trains: bool) -> str:
    """Return what is usually fastest, and never needs a mask of T x T if that can be helped."""
    able = candidates(shape)
    if shape.device == "cpu":
        in_blocks = not shape.is_plain or (trains and shape.dtype == torch.bfloat16)
        return "blocks" if in_blocks else "sdpa"
    if shape.is_plain:
        return "sdpa"
    order = ("flash", "varlen", "flex") if trains else ("flash", "varlen")
    return next((name for name in order if name in able), "sdpa")
