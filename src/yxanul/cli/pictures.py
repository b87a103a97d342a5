"""Tables, histograms and safely escaped text for a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from yxanul.cli.chart import bars, columns

END_MARK = "⟨end of text⟩"
_BIDI = set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSAFE = ("Cc", "Cs", "Zl", "Zp")
_COLUMN = 5


def safe(text: str, keep: str = "") -> str:
    """Escape characters that move the cursor, colour or reorder text, except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(
        char if char in keep or not _is_unsafe(char) else _escaped(char) for char in text
    )


def _is_unsafe(char: str) -> bool:
    return char in _BIDI or unicodedata.category(char) in _UNSAFE


def _escaped(char: str) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char)
    if short is not None:
        return short
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def shortened(text: str, most: int) -> str:
    """Shorten a text longer than `most` characters to its beginning and end."""
    if len(text) <= most:
        return text
    head, tail = most * 2 // 3, most // 3
    return f"{text[:head]} … {len(text) - head - tail:,} characters … {text[-tail:]}"


def begun(text: str, most: int) -> str:
    """Truncate a text longer than `most` characters."""
    return text if len(text) <= most else f"{text[:most]} …"


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


def length_bars(lengths: Mapping[str, int], width: int = 40) -> list[str]:
    """Return a bar for each bin: documents of at least that many tokens, and less than twice."""
    most = max((len(_range(least)) for least in lengths), default=0)
    return bars([(f"{_range(least):>{most}}", count) for least, count in lengths.items()], width)


def length_columns(by_source: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a line for each source: a histogram of lengths over common bins."""
    bounds = [int(least) for lengths in by_source.values() for least in lengths]
    if not bounds:
        return []
    bins = [1 << n for n in range(min(bounds).bit_length() - 1, max(bounds).bit_length())]
    name_width = max(map(len, by_source))
    lines = [" " * name_width + "".join(f"{_short(least):>{_COLUMN}}" for least in bins)]
    for name, lengths in by_source.items():
        blocks = columns([lengths.get(str(least), 0) for least in bins])
        cells = "".join(f"{3 * block:>{_COLUMN}}" for block in blocks)
        lines.append(f"{name:<{name_width}}{cells}".rstrip())
    return lines


def left_out(dropped: Mapping[str, int], kept: int) -> str:
    """Return the documents left out by cause, with the share of all documents."""
    total = kept + sum(dropped.values())
    by_size = sorted(dropped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {cause} ({percent(count, total)})" for cause, count in by_size)


def percent(count: int, total: int) -> str:
    """Format a share such as 2.4%; a nonzero count is never 0.0%."""
    share = 100 * count / max(1, total)
    return "<0.1%" if 0 < share < 0.05 else f"{share:.1f}%"


def _range(least: str) -> str:
    first = int(least)
    return f"{first:,}" if first == 1 else f"{first:,}-{2 * first - 1:,}"


def _short(number: int) -> str:
    """Format a number such as 512, 1k, 2k, 1M."""
    for size, suffix in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")):
        if number >= size:
            return f"{number // size}{suffix}"
    return str(number)
