"""Which documents are held out for validation: decided by the text alone."""

from __future__ import annotations

import hashlib

_HASH_BYTES = 8
_HASHES = 2 ** (8 * _HASH_BYTES)


def is_held_out(text: str, fraction: float) -> bool:
    """Tell whether `text` belongs to validation, as about `fraction` of all texts do.

    Equal texts fall on the same side, whatever the file, source or machine; what is held out at
    a fraction is held out at every larger one.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=_HASH_BYTES, person=b"yxanul split")
    return int.from_bytes(digest.digest(), "little") < fraction * _HASHES
