"""Pictures made of letters: horizontal bars, and a row of small columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

_FULL = "█"
_PARTS = " ▏▎▍▌▋▊▉"
_COLUMNS = "▁▂▃▄▅▆▇█"


def bars(
    rows: Sequence[tuple[str, float]],
    width: int = 40,
    format: Callable[[float], str] = "{:,}".format,
) -> list[str]:
    """Return one line for each (label, value): label, bar, value.

    The largest value has a bar of `width` letters; what is above zero has at least a sliver.
    """
    labels = max((len(label) for label, _ in rows), default=0)
    most = max((value for _, value in rows if math.isfinite(value)), default=0.0)
    lines = []
    for label, value in rows:
        bar = _bar(value / most, width) if most > 0 and math.isfinite(value) else ""
        lines.append(f"{label:<{labels}}  {bar}{' ' if bar else ''}{format(value)}")
    return lines


def columns(values: Sequence[float]) -> list[str]:
    """Return one letter for each value, the higher the larger; a blank for what is not above 0."""
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    return [_column(value / most) if most > 0 else " " for value in values]


def _bar(share: float, width: int) -> str:
    eighths = min(8 * width, round(share * 8 * width))
    if share > 0:
        eighths = max(1, eighths)
    full, rest = divmod(max(0, eighths), 8)
    return _FULL * full + (_PARTS[rest] if rest else "")


def _column(share: float) -> str:
    if not share > 0 or math.isinf(share):
        return " "
    return _COLUMNS[min(len(_COLUMNS) - 1, int(share * len(_COLUMNS)))]
