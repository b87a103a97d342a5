"""The last step before tokens: what is empty goes, what is held out is marked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from yxanul.base.errors import YxanulError
from yxanul.text.documents import CAUSES, Document, Dropped, Part
from yxanul.text.sources.source import Source
from yxanul.text.split import is_held_out

Prepared: TypeAlias = tuple[Literal["train", "validation"], Document] | Dropped


def prepared(source: Source, part: Part, held_out_fraction: float) -> Iterator[Prepared]:
    """Yield the documents of `part`, each with its split, and what was dropped.

    Under `on_problem: stop` the first thing to drop is a YxanulError instead.
    """
    for item in source.read(part):
        if isinstance(item, Document) and not item.text.strip():
            item = Dropped("empty", item.id)
        if isinstance(item, Document):
            held_out = is_held_out(item.text, held_out_fraction)
            yield ("validation" if held_out else "train"), item
        elif source.settings.on_problem == "stop":
            raise _problem(source.name, item)
        else:
            yield item


def _problem(source: str, dropped: Dropped) -> YxanulError:
    return YxanulError(
        f"source '{source}': {dropped.where} {CAUSES[dropped.cause]}",
        hint="mend it, or leave such documents out and count them with on_problem: drop",
    )
