"""Settings of deduplication; this file imports nothing heavy."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from yxanul.base.settings import Misfit, Settings


class NearSettings(Settings):
    """When two documents are near copies: many of their runs of words are the same."""

    threshold: float = Field(default=0.8, ge=0.3, le=1)
    """The share of equal n-grams (Jaccard, as MinHash estimates it) that makes a near copy."""
    ngram: int = Field(default=5, ge=1, le=50)
    """How many words in a row are compared; a shorter document is looked at for exact copies
    only."""
    permutations: int = Field(default=128, ge=16, le=1024)
    """Numbers in a signature: more make the estimate better, and take 4 bytes each on disk."""


class DeduplicateSettings(Settings):
    """Which copies of earlier documents are left out; of equal documents the first one stays."""

    exact: bool = True
    """Leave out documents with the same text, but for white space at its ends."""
    near: NearSettings | None = None
    """Leave out documents with nearly the same text, too."""

    @model_validator(mode="after")
    def _looks_for_something(self) -> Self:
        if not self.exact and self.near is None:
            raise Misfit("set exact or near, or leave deduplicate out", "exact")
        return self
