"""Parts that are ranges of numbers, and their names."""

from __future__ import annotations

import re

from yxanul.base.errors import YxanulError


def ranges(total: int, length: int) -> list[range]:
    """Cut 0..total-1 into ranges of `length`; the last one may be shorter."""
    return [range(start, min(start + length, total)) for start in range(0, total, length)]


def range_name(stem: str, numbers: range) -> str:
    """Return the name of a part, which `parse_range` reads back."""
    return f"{stem}:{numbers.start}-{numbers.stop}"


def parse_range(source: str, name: str) -> range:
    """Return the numbers of the part `name`; a name of another kind is a YxanulError."""
    match = re.fullmatch(r".*:(\d+)-(\d+)", name, re.DOTALL)
    if not match:
        raise YxanulError(f"source '{source}' has no part '{name}'")
    return range(int(match[1]), int(match[2]))
