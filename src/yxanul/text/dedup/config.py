"""Settings of deduplication. Imports nothing heavy."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from yxanul.base.settings import Misfit, Settings


class NearSettings(Settings):
    """Near-duplicates: documents with a high n-gram overlap."""

    threshold: float = Field(default=0.8, ge=0.3, le=1)
    """Minimum Jaccard similarity of the n-grams, as estimated by MinHash."""
    ngram: int = Field(default=5, ge=1, le=50)
    """Words per n-gram; a shorter document is compared only for exact duplicates."""
    permutations: int = Field(default=128, ge=16, le=1024)
    """Size of a MinHash signature: a larger one estimates better and takes 4 bytes on disk for each
    permutation."""


class DeduplicateSettings(Settings):
    """Duplicates to drop; the first of equal documents is kept."""

    exact: bool = True
    """Drop documents with the same text, ignoring leading and trailing white space."""
    near: NearSettings | None = None
    """Also drop near-duplicates."""

    @model_validator(mode="after")
    def _looks_for_something(self) -> Self:
        if not self.exact and self.near is None:
            raise Misfit("set exact or near, or omit deduplicate", "exact")
        return self
