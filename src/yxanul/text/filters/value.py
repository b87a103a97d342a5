"""The filter of values that come with the documents."""

from __future__ import annotations

from yxanul.text.documents import Document
from yxanul.text.filters.config import ValueFilterSettings


class ValueFilter:
    """One of some values in the document's row; a row without a value goes."""

    def __init__(self, settings: ValueFilterSettings):
        self._settings = settings
        # 1 and True are equal, and yet not the same in a column.
        self._wanted = {(type(value), value) for value in settings.one_of}

    def cause(self, document: Document) -> str | None:
        """Return "value" for any other value than the wanted ones."""
        value = document.scores.get(self._settings.column)
        known = isinstance(value, str | int | bool) and (type(value), value) in self._wanted
        return None if known else "value"
