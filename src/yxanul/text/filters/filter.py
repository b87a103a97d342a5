"""Protocol of a filter."""

from __future__ import annotations

from typing import Protocol

from yxanul.text.documents import Document


class Filter(Protocol):
    """Document filter. Worker processes open it anew from its settings."""

    def cause(self, document: Document) -> str | None:
        """Return why the document is dropped, a key of CHOICES, or None if it is kept.

        The result depends only on the settings and this document.
        """
        ...
