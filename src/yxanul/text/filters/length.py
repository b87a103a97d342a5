"""Length filter."""

from __future__ import annotations

from collections.abc import Iterable

from yxanul.text.documents import Document
from yxanul.text.filters.config import FilterSettings, LengthFilterSettings


class LengthFilter:
    """Filter by number of characters. Tokens are counted later: see `token_bounds`."""

    def __init__(self, settings: LengthFilterSettings):
        self._settings = settings

    def cause(self, document: Document) -> str | None:
        """Return "too_short" or "too_big" if a character bound is violated."""
        least, most, chars = self._settings.min_chars, self._settings.max_chars, len(document.text)
        if least is not None and chars < least:
            return "too_short"
        return "too_big" if most is not None and chars > most else None


def token_bounds(filters: Iterable[FilterSettings] | None) -> tuple[int | None, int | None]:
    """Return the minimum and maximum number of tokens that all length filters allow."""
    lengths = [item for item in filters or () if isinstance(item, LengthFilterSettings)]
    least = [item.min_tokens for item in lengths if item.min_tokens is not None]
    most = [item.max_tokens for item in lengths if item.max_tokens is not None]
    return max(least, default=None), min(most, default=None)
