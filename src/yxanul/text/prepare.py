"""The last step before tokens: what is empty or unwanted goes, what is held out is marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from yxanul.base.errors import YxanulError
from yxanul.text.documents import PROBLEMS, Document, Dropped, Part
from yxanul.text.filters.filter import Filter
from yxanul.text.sources.source import Source
from yxanul.text.split import is_held_out

Prepared: TypeAlias = tuple[Literal["train", "validation"], Document] | Dropped


def prepared(
    source: Source, part: Part, held_out_fraction: float, filters: Sequence[Filter] = ()
) -> Iterator[Prepared]:
    """Yield the documents of `part`, each with its split, and what was dropped.

    Filters are asked in their order, and the first one that objects decides the cause. Under
    `on_problem: stop` the first problem is a YxanulError; what a filter drops is a choice.
    """
    stops = source.settings.on_problem == "stop"
    for item in source.read(part):
        kept = _judged(item, filters) if isinstance(item, Document) else item
        if isinstance(kept, Document):
            held_out = is_held_out(kept.text, held_out_fraction)
            yield ("validation" if held_out else "train"), kept
        elif stops and kept.cause in PROBLEMS:
            raise _problem(source.name, kept)
        else:
            yield kept


def _judged(document: Document, filters: Sequence[Filter]) -> Document | Dropped:
    """Return the document, or what it becomes when it is empty or a filter objects."""
    if not document.text.strip():
        return Dropped("empty", document.id)
    for one in filters:
        cause = one.cause(document)
        if cause is not None:
            return Dropped(cause, document.id, document.text)
    return document


def _problem(source: str, dropped: Dropped) -> YxanulError:
    return YxanulError(
        f"source '{source}': {dropped.where} {PROBLEMS[dropped.cause]}",
        hint="mend it, or leave such documents out and count them with on_problem: drop",
    )
