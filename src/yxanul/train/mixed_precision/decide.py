"""Choice for `precision: auto`: fp8 only if a benchmark step of the real shape is faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from yxanul.model.config import ModelSettings
from yxanul.monitor.peak_flops import Peak, listed_peak, matmul_peak
from yxanul.train.config import TrainSettings
from yxanul.train.mixed_precision.config import fp8_misfit
from yxanul.train.mixed_precision.fp8 import has_fp8, is_installed
from yxanul.train.mixed_precision.weights import DTYPES, choose_precision

LEAST_GAIN = 1.05
"""Minimum speedup for a lower precision, since it costs accuracy."""


@dataclass(frozen=True)
class Decision:
    """A precision and the measurements it was chosen by."""

    precision: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Measured step time by precision; empty if there was only one candidate."""
    line: str = ""
    """Message for the user: what was chosen or declined, and why."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the ledger and the report."""
        return asdict(self)


def precision_candidates(
    train: TrainSettings, model: ModelSettings, device: torch.device
) -> list[str]:
    """Return the precisions to consider, the fallback first.

    More than one only if the precision is `auto` and the device, the model's shape and the
    installed packages all support fp8.
    """
    first = choose_precision(train.precision, device)
    fits = first == "bf16" and has_fp8(device) and fp8_misfit(model) is None
    if train.precision == "auto" and fits and is_installed(train.fp8.engine):
        return [first, "fp8"]
    return [first]


def measure_precisions(candidates: Sequence[str], seconds_of: Callable[[str], float]) -> Decision:
    """Choose the first candidate, or a later one that is at least 5 % faster than the best so far.

    `seconds_of(precision)` measures a step. A later candidate that raises is declined.
    """
    best, *others = candidates
    if not others:
        return Decision(best)
    seconds, lines = {best: seconds_of(best)}, []
    for name in others:
        try:
            seconds[name] = seconds_of(name)
        except Exception as error:  # whatever an optional package or its kernels may raise
            reason = str(error).partition("\n")[0] or type(error).__name__
            lines.append(f"{name} declined: it failed on this device ({reason})")
            continue
        pays = seconds[best] >= LEAST_GAIN * seconds[name]
        lines.append(_comparison(name, best, seconds, "chosen" if pays else "declined"))
        best = name if pays else best
    return Decision(best, seconds, "; ".join(lines))


def caveat(precision: str, device: torch.device) -> str | None:
    """Return a warning about using a precision on this device, or None."""
    if precision == "fp8" and not has_fp8(device):
        return "fp8 is emulated on this device: the same rounding, but slower than bf16"
    if precision == "fp16" and device.type == "cpu":
        return "fp16 is very slow on a CPU; train.precision=auto chooses a fast precision"
    return None


def precision_peak(device: torch.device, precision: str) -> Peak:
    """Return the peak that MFU divides by: for fp8, the data sheet's figure if there is one."""
    if precision == "fp8" and has_fp8(device):
        listed = listed_peak(torch.cuda.get_device_name(device), torch.float8_e4m3fn)
        if listed is not None:
            return Peak(listed, "table")
    return matmul_peak(device, DTYPES[precision])


def _comparison(name: str, best: str, seconds: Mapping[str, float], verdict: str) -> str:
    ratio = seconds[best] / seconds[name]
    times = f"{seconds[name] * 1e3:.1f} ms vs {seconds[best] * 1e3:.1f} ms"
    return f"{name} {verdict}: {ratio:.2f}x the speed of {best} ({times})"
