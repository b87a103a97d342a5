"""Documents, what was dropped, and slices of a source: the values that leave this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yxanul.text.split import NOTHING_HELD_OUT, Split

PROBLEMS = {
    "broken_utf8": "holds bytes that are not UTF-8",
    "empty": "is empty",
    "bad_json": "is not a JSON object",
    "missing_column": "lacks a column that the text is made of",
    "not_text": "has a value that is not text where the text should be",
    "too_long": "is too long to be one JSON value",
    "truncated": "ends too early: the file was cut short",
    "corrupt": "cannot be decompressed or read: it is damaged, or its suffix is the wrong one",
    "not_text_file": "is no text: it begins like a compressed or binary file",
    "not_utf8": "is not text in UTF-8: it is in another encoding, or is binary",
    "unreadable": "cannot be opened or read",
}
"""Why a document (or the rest of a file) cannot be used; `on_problem` decides what follows."""

CURES = {
    "truncated": "download or compress the file again",
    "corrupt": "download or compress the file again, or give it the name of what it is",
    "not_text_file": "convert or decompress it, or give it the name of what it is (.parquet ...)",
    "not_utf8": "convert it, such as with iconv -f LATIN1 -t UTF-8 (or -f UTF-16LE)",
    "unreadable": "check whether it is there, and its permissions",
}
"""What repairs a file of which the rest cannot be used; `on_bad_file` decides what follows."""

CHOICES = {
    "too_short": "is shorter than the filter wants",
    "too_big": "is longer than the filter wants",
    "score": "has a score beyond the filter's bounds, or none",
    "value": "has another value in a column than the filter wants",
    "language": "is not in the wanted languages",
    "repetition": "repeats itself",
    "quality": "is scored too low by the quality function",
    "contaminated": "shares a run of words with a benchmark's test",
    "duplicate": "has the text of an earlier document",
    "near_duplicate": "is nearly the text of an earlier document",
}
"""Why a document that could be used is not wanted: the recipe said so, and nothing is wrong."""

CAUSES = PROBLEMS | CHOICES
"""Why a document (or the rest of a file) is left out."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text, with a name that is unique in its source."""

    id: str
    source: str
    text: str
    scores: Mapping[str, Any] = field(default_factory=dict)
    """The values of the columns that filters read."""
    held_out: bool | None = None
    """Whether its place says that it is held out; None where its text decides."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that is no usable document: a cause out of CAUSES, and the place."""

    cause: str
    where: str
    text: str = ""
    """The text, where there is one: its beginning is kept for inspection."""


@dataclass(frozen=True, slots=True)
class SourceSlice:
    """A slice of a source: the unit of work and of resuming.

    The fingerprint changes when the content may have changed; size_bytes may be unknown.
    """

    name: str
    size_bytes: int | None
    fingerprint: str
    kind: str = "text"
    """The kind of its files, where a source has several."""
    split: Split = NOTHING_HELD_OUT
    """What of it is held out."""
