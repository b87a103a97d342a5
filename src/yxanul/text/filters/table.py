"""Protocol and table of filters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from yxanul.base.files import expand_home
from yxanul.base.registry import lookup
from yxanul.text.config import CommonSettings
from yxanul.text.documents import Document
from yxanul.text.filters.columns import LengthFilter, ScoreFilter, ValueFilter
from yxanul.text.filters.config import FilterSettings, QualityFilterSettings
from yxanul.text.filters.language import LanguageFilter
from yxanul.text.filters.quality import QualityFilter
from yxanul.text.filters.repetition import RepetitionFilter


class Filter(Protocol):
    """Document filter. Worker processes open it anew from its settings."""

    def cause(self, document: Document) -> str | None:
        """Return why the document is dropped, a key of CHOICES, or None if it is kept.

        The result depends only on the settings and this document.
        """
        ...


FILTERS: dict[str, Callable[[Any], Filter]] = {
    "length": LengthFilter,
    "score": ScoreFilter,
    "value": ValueFilter,
    "language": LanguageFilter,
    "repetition": RepetitionFilter,
    "quality": QualityFilter,
}


def open_filters(settings: CommonSettings) -> list[Filter]:
    """Open the filters of a source, in the recipe's order; raise YxanulError if one cannot run."""
    return [lookup(FILTERS, item.kind, "filter")(item) for item in settings.filters or ()]


def filters_digest(filters: Iterable[FilterSettings] | None) -> str:
    """Return a digest of the filter settings and the files of quality functions."""
    digest = hashlib.blake2b(digest_size=16)
    for item in filters or ():
        digest.update(item.model_dump_json().encode() + b"\n")
        if isinstance(item, QualityFilterSettings):
            path = expand_home(item.function.rpartition(":")[0])
            digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()
