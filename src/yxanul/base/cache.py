"""The user's cache folder: measurements and copies worth keeping, never anything that is needed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/yxanul, by default ~/.cache/yxanul; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "yxanul"


def is_address(folder: str) -> bool:
    """Tell whether a folder is an fsspec address rather than a path of this machine."""
    return "://" in folder


def fetched_folder(address: str) -> Path:
    """Return where copies of the files at an address are kept."""
    return cache_folder() / "shards" / hashlib.sha256(address.encode()).hexdigest()[:16]
