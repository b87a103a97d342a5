"""Tables and pictures of text, and text that is safe to show, as lines for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from yxanul.cli.chart import bars, columns

END_MARK = "⟨end of text⟩"
_BIDI = set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE = ("Cc", "Cs", "Zl", "Zp")
_COLUMN = 5


def safe(text: str, keep: str = "") -> str:
    """Return text in which nothing moves a cursor, colours or turns a line: such signs are written
    out, but for those in `keep`."""
    if text.isprintable():
        return text
    return "".join(
        sign if sign in keep or not _is_unsafe(sign) else _written(sign) for sign in text
    )


def _is_unsafe(sign: str) -> bool:
    return sign in _BIDI or unicodedata.category(sign) in _UNSAFE


def _written(sign: str) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(sign)
    if short is not None:
        return short
    return f"\\x{ord(sign):02x}" if ord(sign) < 256 else f"\\u{ord(sign):04x}"


def shortened(text: str, most: int) -> str:
    """Return the beginning and the end of a text that is longer than `most`."""
    if len(text) <= most:
        return text
    head, tail = most * 2 // 3, most // 3
    return f"{text[:head]} … {len(text) - head - tail:,} characters … {text[-tail:]}"


def begun(text: str, most: int) -> str:
    """Return the beginning of a text that is longer than `most`."""
    return text if len(text) <= most else f"{text[:most]} …"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table: the first column to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]


def length_bars(lengths: Mapping[str, int], width: int = 40) -> list[str]:
    """Return a bar for each length: documents that have at least so many tokens, and less than
    twice as many."""
    most = max((len(_range(least)) for least in lengths), default=0)
    return bars([(f"{_range(least):>{most}}", count) for least, count in lengths.items()], width)


def length_columns(by_source: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a line for each source: columns over lengths that all of them share."""
    places = [int(least) for lengths in by_source.values() for least in lengths]
    if not places:
        return []
    steps = [1 << n for n in range(min(places).bit_length() - 1, max(places).bit_length())]
    name_width = max(map(len, by_source))
    lines = [" " * name_width + "".join(f"{_short(step):>{_COLUMN}}" for step in steps)]
    for name, lengths in by_source.items():
        letters = columns([lengths.get(str(step), 0) for step in steps])
        cells = "".join(f"{3 * letter:>{_COLUMN}}" for letter in letters)
        lines.append(f"{name:<{name_width}}{cells}".rstrip())
    return lines


def left_out(dropped: Mapping[str, int], kept: int) -> str:
    """Return what was left out by cause, with its share of all documents."""
    total = kept + sum(dropped.values())
    by_size = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {cause} ({percent(count, total)})" for cause, count in by_size)


def percent(count: int, total: int) -> str:
    """Return a share such as 2.4%; what is not nothing is never 0.0%."""
    share = 100 * count / max(1, total)
    return "<0.1%" if 0 < share < 0.05 else f"{share:.1f}%"


def _range(least: str) -> str:
    first = int(least)
    return f"{first:,}" if first == 1 else f"{first:,}-{2 * first - 1:,}"


def _short(number: int) -> str:
    """Return 512, 1k, 2k, 1M."""
    for size, sign in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")):
        if number >= size:
            return f"{number // size}{sign}"
    return str(number)
