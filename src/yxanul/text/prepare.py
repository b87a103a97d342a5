"""Preparation of documents for tokenization: filters and the train/validation split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from yxanul.base.errors import YxanulError
from yxanul.text.config import HubSettings
from yxanul.text.documents import CURES, PROBLEMS, Document, Dropped, SourceSlice
from yxanul.text.filters.table import Filter
from yxanul.text.sources.file_source import FileSource
from yxanul.text.sources.remote import is_remote
from yxanul.text.sources.source import Source
from yxanul.text.split import Split, fraction_for, hash_of, is_held_out

Prepared: TypeAlias = tuple[Literal["train", "validation"], Document] | Dropped


def prepared(
    source: Source, part: SourceSlice, filters: Sequence[Filter] = ()
) -> Iterator[Prepared]:
    """Yield the documents of a slice, each with its split, and the dropped ones.

    Filters run in order; the first that rejects a document gives the cause. Raises YxanulError at
    the first problem under `on_problem: stop`, and at a file that cannot be read to its end under
    `on_bad_file: stop`; documents rejected by a filter are not problems.
    """
    fatal = PROBLEMS if source.settings.on_problem == "stop" else CURES
    if source.settings.on_bad_file == "drop":
        fatal = fatal.keys() - CURES
    for item in source.read(part):
        kept = _filtered(item, filters) if isinstance(item, Document) else item
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
    """Return the slices of a source with their splits: at least one document is held out.

    Raises YxanulError for a source without text or with a single document.
    """
    parts = source.slices()
    if isinstance(source, FileSource):
        parts = source.split(fraction, parts)
    else:
        parts = [replace(part, split=Split(fraction, by_position=False)) for part in parts]
    settings = source.settings
    if isinstance(settings, HubSettings) or is_remote(getattr(settings, "path", "")):
        return parts  # a check would read the source twice, for a rare error
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
            f"the source '{source.name}' has only one document, and one must be held out",
            hint="add text, or make documents smaller (plain text: passage_chars)",
        )
    if sides["validation"]:
        raise nothing_to_train_on(source.name, sides["validation"])
    split = Split(fraction_for(lowest), by_position=False)
    return [replace(part, split=split) for part in parts]


def nothing_to_train_on(source: str, held_out: int) -> YxanulError:
    """Return the error for a source whose documents are all held out."""
    return YxanulError(
        f"the source '{source}' has no document left to train on",
        got=f"{held_out} held out for validation",
        hint="lower data.validation_fraction, add text, or make documents smaller "
        "(plain text: passage_chars)",
    )


def no_document(source: str, dropped: Mapping[str, int], path: str | None = None) -> YxanulError:
    """Return the error for a source without a usable document."""
    counts = ", ".join(f"{count} {cause}" for cause, count in sorted(dropped.items()))
    return YxanulError(
        f"the source '{source}' has no usable document" + (f" in {path}" if path else ""),
        got=f"dropped: {counts}" if counts else "no text, or only white space",
        hint="data.decontaminate drops them; null keeps them"
        if set(dropped) == {"contaminated"}
        else f"check data.sources.{source}",
    )


def _filtered(document: Document, filters: Sequence[Filter]) -> Document | Dropped:
    """Return the document, or a Dropped if it is empty or rejected by a filter."""
    if not document.text.strip():
        return Dropped("empty", document.id)
    for document_filter in filters:
        cause = document_filter.cause(document)
        if cause is not None:
            return Dropped(cause, document.id, document.text)
    return document


def _problem(source: str, dropped: Dropped) -> YxanulError:
    what = f"source '{source}': {dropped.where} {PROBLEMS[dropped.cause]}"
    if cure := CURES.get(dropped.cause):
        drop = f"data.sources.{source}.on_bad_file=drop"
        return YxanulError(what, hint=f"{cure}; {drop} uses what can be read of such files")
    return YxanulError(what, hint="repair it, or drop such documents with on_problem: drop")
