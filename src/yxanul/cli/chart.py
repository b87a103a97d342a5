"""Pictures made of letters: horizontal bars, columns, a curve with the area below it."""

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


def area(values: Sequence[float], height: int) -> list[str]:
    """Return `height` lines in which each value is a column; the largest is as high as all.

    What is above 0 has at least the smallest letter.
    """
    most = max((value for value in values if math.isfinite(value)), default=0.0)
    tall = [_eighths(value / most, height) if most > 0 else 0 for value in values]
    letters = " " + _COLUMNS
    return [
        "".join(letters[min(8, max(0, eighths - 8 * floor))] for eighths in tall)
        for floor in reversed(range(height))
    ]


def parts_bar(shares: Mapping[str, float], shades: Mapping[str, str], width: int) -> str:
    """Return a bar of `width` letters, cut into parts; each has the letter of its name."""
    total, done, bar = math.fsum(shares.values()), 0.0, ""
    for name, share in shares.items():
        done += share
        bar += shades[name] * (round(width * done / total) - len(bar))
    return bar


def shades_of(names: Sequence[str]) -> dict[str, str]:
    """Return a letter for each name, for the parts of bars; the letters repeat after six."""
    return {name: _SHADES[place % len(_SHADES)] for place, name in enumerate(names)}


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
