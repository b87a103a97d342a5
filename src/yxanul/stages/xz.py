"""What a general compressor needs for held-out text: the yardstick beside a model's figure."""

from __future__ import annotations

import lzma
from pathlib import Path

LONGEST_BYTES = 20_000_000


def xz_bits_per_byte(source: Path) -> float | None:
    """Return what `xz -9e` needs for the held-out text of a source's folder, in bits per byte of
    it; None for a very long one."""
    path = source / "held-out.txt"
    if path.stat().st_size > LONGEST_BYTES:
        return None
    content = path.read_bytes()
    packed = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
    return 8 * len(packed) / len(content)
