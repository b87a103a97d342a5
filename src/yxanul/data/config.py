"""Settings of the data: which text, how much of it is held out, how it is encoded."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from yxanul.base.settings import Settings
from yxanul.text.config import SourceSettings


class DataSettings(Settings):
    """The text of a run, source by source."""

    sources: dict[str, SourceSettings] = Field(min_length=1)
    """Where text comes from, each under a name that mixes and results use."""
    validation_fraction: float = Field(default=0.02, gt=0, lt=1)
    """The share of documents that is held out of training, in every source."""
    workers: int | None = Field(default=None, ge=1)
    """Processes that encode text; left out: one for each core."""
    folder: str | None = None
    """Where encoded text is kept; a folder outside of the run is shared between runs."""

    @field_validator("sources")
    @classmethod
    def _names_are_folders(cls, sources: dict[str, SourceSettings]) -> dict[str, SourceSettings]:
        for name in sources:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
                raise ValueError(
                    f"'{name}' cannot name a source: letters, digits, _ - and . make names"
                )
        if len({name.lower() for name in sources}) < len(sources):
            raise ValueError("two sources have names that differ in upper and lower case only")
        return sources
