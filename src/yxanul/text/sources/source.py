"""What a source of text is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from yxanul.text.config import CommonSettings
from yxanul.text.documents import Document, Dropped, SourceSlice


class Source(Protocol):
    """Documents in parts. Worker processes open it anew from its name and settings.

    Reading depends on nothing but these and the data itself, so any process may read any part.
    """

    @property
    def name(self) -> str:
        """The key of the source in the recipe."""
        ...

    @property
    def settings(self) -> CommonSettings:
        """What the source was opened with."""
        ...

    @property
    def synthetic(self) -> bool:
        """Whether the text is made up by rules rather than written by people."""
        ...

    @property
    def notes(self) -> list[str]:
        """What a person should be told, such as which column was guessed."""
        ...

    def parts(self) -> list[SourceSlice]:
        """List the parts; a source that cannot be read at all is a YxanulError."""
        ...

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of one part, and in their places those that cannot be used."""
        ...
