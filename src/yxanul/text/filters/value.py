"""Filter by a categorical column."""

from __future__ import annotations

from yxanul.text.documents import Document
from yxanul.text.filters.config import ValueFilterSettings


class ValueFilter:
    """Filter by allowed values in the document's row; rows without a value are dropped."""

    def __init__(self, settings: ValueFilterSettings):
        self._settings = settings
        # 1 == True, but they are different values of a column.
        self._allowed = {(type(value), value) for value in settings.one_of}

    def cause(self, document: Document) -> str | None:
        """Return "value" if the value is not allowed."""
        value = document.scores.get(self._settings.column)
        allowed = isinstance(value, str | int | bool) and (type(value), value) in self._allowed
        return None if allowed else "value"
