"""What a filter is."""

from __future__ import annotations

from typing import Protocol

from yxanul.text.documents import Document


class Filter(Protocol):
    """One demand on documents. Worker processes open it anew from its settings."""

    def cause(self, document: Document) -> str | None:
        """Return why the document is left out, a key of CHOICES, or None if it stays.

        The answer depends on the settings and this document alone.
        """
        ...
