"""Charts of block characters: horizontal bars, columns, a filled curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

_FULL = "█"
_PARTS = " ▏▎▍▌▋▊▉"
_COLUMNS = "▁▂▃▄▅▆▇█"
_SHADES = "█▒░▓▚╳"


def bars(
    rows: Sequence[tuple[str, float]],
    width: int = 40,
    format: Callable[[float], str] = "{:,}".format,
) -> list[str]:
    """Return one line for each (label, value): label, bar, value.

    The largest value has a bar of `width` characters; a positive value has at least a sliver.
    """
    labels = max((len(label) for label, _ in rows), default=0)
    most = max((value for _, value in rows if math.isfinite(value)), default=0.0)
    lines = []
    for label, value in rows:
        bar = _bar(value / most, width) if most > 0 and math.isfinite(value) else ""
        lines.append(f"{label:<{labels}}  {bar}{' ' if bar else ''}{format(value)}")
    return lines


def columns(values: Sequence[float]) -> list[str]:
    """Return one block per value, taller for larger values; a blank for values not above 0."""
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    return [_column(value / most) if most > 0 else " " for value in values]


def area(values: Sequence[float], height: int) -> list[str]:
    """Return `height` lines in which each value is a column; the largest fills the height.

    A positive value has at least the lowest block.
    """
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    tall = [_eighths(value / most, height) if most > 0 else 0 for value in values]
    blocks = " " + _COLUMNS
    return [
        "".join(blocks[min(8, max(0, eighths - 8 * floor))] for eighths in tall)
        for floor in reversed(range(height))
    ]


def parts_bar(shares: Mapping[str, float], shades: Mapping[str, str], width: int) -> str:
    """Return a stacked bar of `width` characters; each share has the shade of its name."""
    total, done, bar = math.fsum(shares.values()), 0.0, ""
    for name, share in shares.items():
        done += share
        bar += shades[name] * (round(width * done / total) - len(bar))
    return bar


def shades_of(names: Sequence[str]) -> dict[str, str]:
    """Return a fill character for each name of a stacked bar; they repeat after six."""
    return {name: _SHADES[i % len(_SHADES)] for i, name in enumerate(names)}


def _eighths(share: float, height: int) -> int:
    if not share > 0 or math.isinf(share):
        return 0
    return min(8 * height, max(1, round(8 * height * share)))


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
