"""The filter of lengths."""

from __future__ import annotations

from collections.abc import Iterable

from yxanul.text.documents import Document
from yxanul.text.filters.config import FilterSettings, LengthFilterSettings


class LengthFilter:
    """Bounds of a document's characters. Tokens are counted later: see `token_bounds`."""

    def __init__(self, settings: LengthFilterSettings):
        self._settings = settings

    def cause(self, document: Document) -> str | None:
        """Return which bound of characters is broken, if one is."""
        least, most, chars = self._settings.min_chars, self._settings.max_chars, len(document.text)
        if least is not None and chars < least:
            return "too_short"
        return "too_big" if most is not None and chars > most else None


def token_bounds(filters: Iterable[FilterSettings] | None) -> tuple[int | None, int | None]:
    """Return the fewest and the most tokens that all length filters together allow."""
    lengths = [one for one in filters or () if isinstance(one, LengthFilterSettings)]
    least = [one.min_tokens for one in lengths if one.min_tokens is not None]
    most = [one.max_tokens for one in lengths if one.max_tokens is not None]
    return max(least, default=None), min(most, default=None)
