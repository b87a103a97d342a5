"""Which attention back end to use for a shape: measured once, then remembered.

Letters: B batch, T time, H query heads, G key and value heads, K head width.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from yxanul.base.cache import cache_folder
from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json, write_json
from yxanul.base.machine import processor_name
from yxanul.base.tables import pick
from yxanul.model.attend import BACKENDS
from yxanul.model.attend.backend import Backend, Shape, View
from yxanul.model.attend.sight import Sight

WORTH_MEASURING = 2**20
"""Scores (B H T T) of a shape below which the rule decides: both are over in no time."""

WORTH_CHANGING = 0.95
"""Another back end than the rule's has to take less than this share of its time."""

Times = dict[str, float | None]
"""Milliseconds of a forward and backward pass by back end; None where it did not work."""

_known: dict[str, Times] = {}


def choose(shape: Shape, name: str, trains: bool) -> Backend:
    """Return the back end of that name or, for `auto`, the fastest; errors if it cannot do it."""
    if name != "auto":
        backend = pick(BACKENDS, name, "attention back end")
        reason = backend.reason_against(shape)
        if reason is not None:
            raise YxanulError(f"attention back end '{name}' cannot be used here", found=reason)
        return backend
    usual = by_rule(shape, trains)
    scores = shape.batch * shape.num_heads * shape.length**2
    if not trains or scores < WORTH_MEASURING or len(candidates(shape)) == 1:
        return BACKENDS[usual]
    times = {name: spent for name, spent in known_times(shape).items() if spent is not None}
    fastest = min(times, key=times.__getitem__, default=usual)
    changes = usual not in times or times[fastest] < WORTH_CHANGING * times[usual]
    return BACKENDS[fastest if changes else usual]


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


def known_times(shape: Shape) -> Times:
    """Return the times of a shape: from memory, from the cache folder, or measured now."""
    key = _key(shape)
    if key not in _known:
        times = _usable(stored_times().get(key), shape)
        if times is None:
            times = measure(shape)
            _store({**stored_times(), key: times})
        _known[key] = times
    return _known[key]


def _usable(stored: Any, shape: Shape) -> Times | None:
    """Return what a file says if it is the times of just the back ends there are now."""
    if not isinstance(stored, dict) or set(stored) != set(candidates(shape)):
        return None
    return stored if all(isinstance(time, float | int | None) for time in stored.values()) else None


def measure(shape: Shape, repeats: int = 5) -> Times:
    """Return the best time of every back end that can do the shape, tried in turn.

    The best, as other work on the machine can only make it slower.
    """
    times: dict[str, list[float | None]] = {name: [] for name in candidates(shape)}
    for _ in range(repeats + 1):
        for name, spent in times.items():
            if None not in spent:
                spent.append(_time(shape, name))
    return {name: _best(spent[1:]) for name, spent in times.items()}


def _best(spent: list[float | None]) -> float | None:
    worked = [one for one in spent if one is not None]
    return round(min(worked), 3) if len(worked) == len(spent) and worked else None


def stored_times() -> dict[str, Any]:
    """Return all that the cache folder says, unchecked; nothing if it cannot be read."""
    try:
        stored = read_json(times_file())
    except (OSError, YxanulError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _store(times: dict[str, Any]) -> None:
    try:
        times_file().parent.mkdir(parents=True, exist_ok=True)
        write_json(times_file(), times)
    except (OSError, YxanulError):
        pass  # a place that cannot be written to only costs measuring again


def times_file() -> Path:
    """Return where measured times are kept."""
    return cache_folder() / "attention.json"


def _key(shape: Shape) -> str:
    kind = f"{processor_name()} {torch.get_num_threads()} threads"
    if shape.device == "cuda":
        kind = torch.cuda.get_device_name()
    dtype = str(shape.dtype).removeprefix("torch.")
    seen = f"window {shape.window}" if shape.window else "all"
    documents = " documents" if shape.documents else ""
    return (
        f"torch {torch.__version__} {kind} {dtype} B{shape.batch} T{shape.length}"
        f" H{shape.num_heads} G{shape.num_kv_heads} K{shape.head_width} {seen}{documents}"
    )


def _time(shape: Shape, name: str) -> float | None:
    """Return the milliseconds of one forward and backward pass; None if it does not work."""
    device = torch.device(shape.device)
    heads = (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)
    generator = torch.Generator(device).manual_seed(0)
    try:
        view = _view(shape, name, device)
        with torch.enable_grad():
            q_BTHK, k_BTGK, v_BTGK = (
                torch.randn(
                    (shape.batch, shape.length, n, shape.head_width),
                    dtype=shape.dtype,
                    device=device,
                    generator=generator,
                    requires_grad=True,
                )
                for n in heads
            )
            start = _now(device)
            y_BTHK = view.attend(q_BTHK, k_BTGK, v_BTGK, shape.head_width**-0.5)
            y_BTHK.backward(torch.ones_like(y_BTHK))
            return 1000 * (_now(device) - start)
    except RuntimeError:  # no memory, no kernel, or it does not compile
        return None


def _view(shape: Shape, name: str, device: torch.device) -> View:
    documents_BT = None
    if shape.documents:
        thirds = torch.arange(shape.length, device=device) * 3 // shape.length
        documents_BT = thirds.expand(shape.batch, -1)
    return BACKENDS[name].view(Sight(shape.window, documents_BT), shape, device)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
