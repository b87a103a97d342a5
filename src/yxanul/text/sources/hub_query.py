"""What is asked of the hub."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from yxanul.text.config import HubSettings
from yxanul.text.sources.files import digest_of


class HubQuery(NamedTuple):
    """All that decides which rows come."""

    name: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: str | tuple[str, ...] | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self.name.startswith((".", "/"))

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never moves."""
        return bool(re.fullmatch(r"[0-9a-f]{40}", self.revision or ""))

    @property
    def options(self) -> dict[str, Any]:
        """The options of `load_dataset` that choose the version and the files."""
        files = self.data_files
        chosen = list(files) if isinstance(files, tuple) else files
        return {"revision": self.revision, "data_files": chosen}

    @property
    def digest(self) -> str:
        """A short mark of all of it."""
        return digest_of(repr(tuple(self)))


def query_of(settings: HubSettings) -> HubQuery:
    """Return what `settings` ask of the hub."""
    return HubQuery(*(getattr(settings, name) for name in HubQuery._fields))
