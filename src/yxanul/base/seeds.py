"""Seeds: the recipe's seed and an independent stream for each purpose."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed derived from `seed` and `purpose`, the same on every machine."""
    words = "\x1f".join([str(seed), *map(str, purpose)])
    digest = hashlib.blake2b(words.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
