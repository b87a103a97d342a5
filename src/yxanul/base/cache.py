"""The user's cache folder: measurements that are worth keeping, never anything that is needed."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $XDG_CACHE_HOME/yxanul, by default ~/.cache/yxanul; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "yxanul"
