"""Seeds: one number in the recipe, an independent stream for each purpose."""

from __future__ import annotations

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and every word of `purpose`, on any machine."""
    words = "\x1f".join([str(seed), *map(str, purpose)])
    digest = hashlib.blake2b(words.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
