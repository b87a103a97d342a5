"""Documents, dropped documents, and slices of a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yxanul.text.split import NOTHING_HELD_OUT, Split

PROBLEMS = {
    "broken_utf8": "contains invalid UTF-8",
    "empty": "is empty",
    "bad_json": "is not a JSON object",
    "bad_csv": "has a stray quote, or more cells than the header has names",
    "missing_column": "lacks a column of the text",
    "not_text": "has a non-text value where text is expected",
    "too_long": "is too long for a single JSON value",
    "truncated": "is truncated",
    "corrupt": "cannot be decompressed or read: it is damaged or has the wrong suffix",
    "not_text_file": "is not text: it begins like a compressed or binary file",
    "not_utf8": "is not UTF-8 text: it has another encoding or is binary",
    "unreadable": "cannot be opened or read",
}
"""Why a document (or the rest of a file) cannot be used; see `on_problem`."""

CURES = {
    "truncated": "download or compress the file again",
    "corrupt": "download or compress the file again, or correct its suffix",
    "not_text_file": "convert or decompress it, or correct its suffix (.parquet ...)",
    "not_utf8": "convert it, such as with iconv -f LATIN1 -t UTF-8 (or -f UTF-16LE)",
    "unreadable": "check that it exists, and its permissions",
}
"""How to repair a file that cannot be read to its end, by cause; see `on_bad_file`."""

CHOICES = {
    "too_short": "is shorter than the length filter allows",
    "too_big": "is longer than the length filter allows",
    "score": "has no score, or one out of the filter's bounds",
    "value": "has a value that the filter does not allow",
    "language": "is not in an allowed language",
    "repetition": "is repetitive",
    "quality": "scores too low with the quality function",
    "contaminated": "overlaps with a benchmark's test set",
    "duplicate": "is an exact duplicate of an earlier document",
    "near_duplicate": "is a near-duplicate of an earlier document",
}
"""Why a usable document is dropped: the recipe says so, and nothing is wrong."""

CAUSES = PROBLEMS | CHOICES
"""Why a document (or the rest of a file) is dropped."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with an id that is unique in its source."""

    id: str
    text: str
    scores: Mapping[str, Any] = field(default_factory=dict)
    """Values of the columns that filters read."""
    held_out: bool | None = None
    """Whether it is held out by its position; None if its hash decides."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A dropped document or file: a key of CAUSES, and its position."""

    cause: str
    where: str
    text: str = ""
    """The text, if any; its beginning is kept for inspection."""


@dataclass(frozen=True, slots=True)
class SourceSlice:
    """Slice of a source: the unit of work and of resuming.

    The fingerprint changes when the content may have changed; size_bytes may be unknown.
    """

    name: str
    size_bytes: int | None
    fingerprint: str
    kind: str = "text"
    """Format of its files, if a source has several."""
    work: Any = field(default=None, compare=False, repr=False)
    """What there is to read, as its source needs it."""
    columns: Any = field(default=None, compare=False, repr=False)
    """The `Columns` of its text, if it has rows."""
    split: Split = NOTHING_HELD_OUT
    """Its held-out split."""
