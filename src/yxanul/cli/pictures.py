"""Tables, charts of block characters and safely escaped text for a terminal."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence

END_MARK = "⟨end of text⟩"
_BIDI = set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE = ("Cc", "Cs", "Zl", "Zp")
_COLUMN = 5
_PARTS = " ▏▎▍▌▋▊▉"
_COLUMNS = " ▁▂▃▄▅▆▇█"
_SHADES = "█▒░▓▚╳"


def escape(text: str, keep: str = "") -> str:
    """Escape characters that move the cursor, colour or reorder text, except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(
        _escape_char(char)
        if char not in keep and (char in _BIDI or unicodedata.category(char) in _UNSAFE)
        else char
        for char in text
    )


def _escape_char(char: str) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char)
    if short is not None:
        return short
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def elide(text: str, max_chars: int) -> str:
    """Shorten a text longer than `max_chars` characters to its beginning and end."""
    if len(text) <= max_chars:
        return text
    head, tail = max_chars * 2 // 3, max_chars // 3
    return f"{text[:head]} … {len(text) - head - tail:,} characters … {text[-tail:]}"


def truncate(text: str, max_chars: int) -> str:
    """Truncate a text longer than `max_chars` characters."""
    return text if len(text) <= max_chars else f"{text[:max_chars]} …"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table with the first column left-aligned, all others right-aligned."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if column == 0 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]


def length_columns(by_source: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a line for each source: a histogram of lengths over common bins."""
    bounds = [int(least) for lengths in by_source.values() for least in lengths]
    if not bounds:
        return []
    bins = [1 << n for n in range(min(bounds).bit_length() - 1, max(bounds).bit_length())]
    name_width = max(map(len, by_source))
    lines = [" " * name_width + "".join(f"{_with_suffix(least):>{_COLUMN}}" for least in bins)]
    for name, lengths in by_source.items():
        (blocks,) = area([lengths.get(str(least), 0) for least in bins], 1)
        cells = "".join(f"{3 * block:>{_COLUMN}}" for block in blocks)
        lines.append(f"{name:<{name_width}}{cells}".rstrip())
    return lines


def describe_dropped(dropped: Mapping[str, int], kept: int) -> str:
    """Return the documents left out by cause, with the share of all documents."""
    total = kept + sum(dropped.values())
    by_size = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {cause} ({percent(count, total)})" for cause, count in by_size)


def percent(count: int, total: int) -> str:
    """Format a share such as 2.4%; a nonzero count is never 0.0%."""
    share = 100 * count / max(1, total)
    return "<0.1%" if 0 < share < 0.05 else f"{share:.1f}%"


def _with_suffix(number: int) -> str:
    """Format a number such as 512, 1k, 2k, 1M."""
    for size, suffix in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")):
        if number >= size:
            return f"{number // size}{suffix}"
    return str(number)


def bars(
    rows: Sequence[tuple[str, float]],
    width: int = 40,
    format: Callable[[float], str] = "{:,}".format,
) -> list[str]:
    """Return one line for each (label, value): label, bar, value.

    The largest value has a bar of `width` characters; a positive value has at least a sliver.
    """
    labels = max((len(label) for label, _ in rows), default=0)
    largest = max((value for _, value in rows if math.isfinite(value)), default=0.0)
    lines = []
    for label, value in rows:
        bar = _bar(value / largest, width) if largest > 0 and math.isfinite(value) else ""
        lines.append(f"{label:<{labels}}  {bar}{' ' if bar else ''}{format(value)}")
    return lines


def area(values: Sequence[float], height: int) -> list[str]:
    """Return `height` lines in which each value is a column; the largest fills the height.

    A positive value has at least the lowest block.
    """
    largest = max((value for value in values if math.isfinite(value)), default=0.0)
    tall = [_eighths(value / largest, height) if largest > 0 else 0 for value in values]
    return [
        "".join(_COLUMNS[min(8, max(0, eighths - 8 * floor))] for eighths in tall)
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


def _eighths(share: float, length: int) -> int:
    if not share > 0 or math.isinf(share):
        return 0
    return min(8 * length, max(1, round(8 * length * share)))


def _bar(share: float, width: int) -> str:
    full, rest = divmod(_eighths(share, width), 8)
    return "█" * full + _PARTS[rest].strip()
