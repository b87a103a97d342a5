"""User cache folder for measurements and downloaded copies; safe to delete."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/yxanul, by default ~/.cache/yxanul; it may not exist."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "yxanul"


def is_address(folder: str) -> bool:
    """Return whether a folder is an fsspec address rather than a local path."""
    return "://" in folder


def fetched_folder(address: str) -> Path:
    """Return the local cache folder for files at an address."""
    return cache_folder() / "shards" / hashlib.sha256(address.encode()).hexdigest()[:16]
