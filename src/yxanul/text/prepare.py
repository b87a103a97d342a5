"""The last step before tokens: what is empty or unwanted goes, what is held out is marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from yxanul.base.errors import YxanulError
from yxanul.text.config import HubSettings
from yxanul.text.documents import CURES, PROBLEMS, Document, Dropped, SourceSlice
from yxanul.text.filters.filter import Filter
from yxanul.text.sources.remote import is_remote
from yxanul.text.sources.source import Source
from yxanul.text.sources.text_files import TextFiles
from yxanul.text.split import Split, fraction_for, hash_of, is_held_out

Prepared: TypeAlias = tuple[Literal["train", "validation"], Document] | Dropped


def prepared(
    source: Source, part: SourceSlice, filters: Sequence[Filter] = ()
) -> Iterator[Prepared]:
    """Yield the documents of `part`, each with its side of the split, and what was dropped.

    Filters are asked in their order, and the first one that objects decides the cause. Under
    `on_problem: stop` the first problem is a YxanulError, as under `on_bad_file: stop` is a file
    that cannot be read to its end; what a filter drops is a choice.
    """
    fatal = PROBLEMS if source.settings.on_problem == "stop" else CURES
    if source.settings.on_bad_file == "drop":
        fatal = fatal.keys() - CURES
    for item in source.read(part):
        kept = _judged(item, filters) if isinstance(item, Document) else item
        if isinstance(kept, Document):
            held_out = kept.held_out
            if held_out is None:
                held_out = is_held_out(kept.text, part.split.fraction)
            yield ("validation" if held_out else "train"), kept
        elif kept.cause in fatal:
            raise _problem(source.name, kept)
        else:
            yield kept


def split_parts(
    source: Source, fraction: float, filters: Sequence[Filter] = ()
) -> list[SourceSlice]:
    """Return the parts of a source, each with what of it is held out: one document at least.

    A source without text, and one of a single document, are a YxanulError.
    """
    parts = source.parts()
    if isinstance(source, TextFiles):
        split = source.split(fraction)
    else:
        split = Split(fraction, by_position=False)
    parts = [replace(part, split=split) for part in parts]
    if isinstance(source, TextFiles) and split.runs is not None:
        parts = [replace(part, split=split.of(source.files_of(part))) for part in parts]
    settings = source.settings
    if isinstance(settings, HubSettings) or is_remote(getattr(settings, "path", "")):
        return parts  # reading it twice would cost more than the rare error
    sides, dropped, lowest = Counter[str](), Counter[str](), 1 << 64
    for item in (item for part in parts for item in prepared(source, part, filters)):
        if isinstance(item, Dropped):
            dropped[item.cause] += 1
            continue
        sides[item[0]] += 1
        if len(sides) == 2:
            return parts
        lowest = min(lowest, hash_of(item[1].text.encode()))
    if not sides:
        raise no_document(source.name, dropped, getattr(settings, "path", None))
    if sides.total() == 1:
        raise YxanulError(
            f"the source '{source.name}' has one document only, and one has to be held out",
            hint="give more text, or smaller documents (in plain text: passage_chars)",
        )
    if sides["validation"]:
        raise nothing_to_train_on(source.name, sides["validation"])
    split = Split(fraction_for(lowest), by_position=False)
    return [replace(part, split=split) for part in parts]


def nothing_to_train_on(source: str, held_out: int) -> YxanulError:
    """Return the error for a source all of whose documents are held out."""
    return YxanulError(
        f"the source '{source}' has no document left to train on",
        got=f"{held_out} held out for validation",
        hint="lower data.validation_fraction, or give more or smaller documents "
        "(smaller passages: passage_chars)",
    )


def no_document(source: str, dropped: Mapping[str, int], path: str | None = None) -> YxanulError:
    """Return the error for a source that leaves nothing to train on."""
    left_out = ", ".join(f"{count} {cause}" for cause, count in sorted(dropped.items()))
    return YxanulError(
        f"the source '{source}' has no usable document" + (f" in {path}" if path else ""),
        got=f"left out: {left_out}" if left_out else "nothing but white space, or nothing at all",
        hint="data.decontaminate leaves them out; null keeps them"
        if set(dropped) == {"contaminated"}
        else f"look at data.sources.{source}",
    )


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
    what = f"source '{source}': {dropped.where} {PROBLEMS[dropped.cause]}"
    if cure := CURES.get(dropped.cause):
        drop = f"data.sources.{source}.on_bad_file=drop"
        return YxanulError(what, hint=f"{cure}; {drop} takes what can be read of such files")
    return YxanulError(
        what, hint="repair it, or leave such documents out and count them with on_problem: drop"
    )
