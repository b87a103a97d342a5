"""Looking into some of a source's files, to choose the columns that make the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from yxanul.base.errors import YxanulError
from yxanul.text.config import ColumnSettings
from yxanul.text.documents import CURES, PROBLEMS, Dropped
from yxanul.text.sources.columns import (
    SAMPLE_ROWS,
    Columns,
    Row,
    choose_columns,
    guess_column,
    named_pieces,
)
from yxanul.text.sources.files import File

SAMPLE_FILES = 8
_LEAST_ROWS = 10


class FileSample(NamedTuple):
    """The columns of a file, some of its rows, and what is wrong with it."""

    names: Sequence[str]
    rows: Sequence[Row]
    problem: Dropped | None = None


Look: TypeAlias = Callable[[File, int], FileSample]
"""Looks at so many rows of a file at most."""


def infer_columns(
    settings: ColumnSettings, files: Sequence[File], look: Look, where: str, wanted: str
) -> Columns:
    """Return the columns that the settings name, or a guess: where the text is in most files.

    The first file may be about the others. A column that no file has is a YxanulError, as are files
    without a row; `wanted` says what they should hold.
    """
    names: dict[str, None] = {}
    problem: Dropped | None = None
    rows: list[Row] = []
    id_column = getattr(settings, "id_column", None)
    for seen, file in enumerate(_in_order(files), 1):
        found, some, wrong = look(
            file, max(SAMPLE_ROWS // min(len(files), SAMPLE_FILES), _LEAST_ROWS)
        )
        names.update(dict.fromkeys(found))
        rows.extend(some)
        problem = problem or wrong
        is_spread = seen >= min(len(files), SAMPLE_FILES)
        if is_spread and _is_settled(settings, list(names), rows, id_column):
            break
    if not names or (problem and not rows and named_pieces(settings) is None):
        what = f"{problem.where} {PROBLEMS[problem.cause]}" if problem else "no row at all"
        hint = CURES.get(problem.cause) if problem else None
        raise YxanulError(
            f"no row could be read from {where}", found=what, wanted=wanted, hint=hint
        )
    where = files[0].name if len(files) == 1 else where
    return choose_columns(settings, list(names), lambda: rows, where, id_column)


def _in_order(files: Sequence[File]) -> Iterator[File]:
    """Yield some files from the first to the last, then the others."""
    last = len(files) - 1
    steps = SAMPLE_FILES - 1
    some = list(dict.fromkeys(round(last * step / steps) for step in range(steps + 1)))
    yield from (files[number] for number in some)
    yield from (file for number, file in enumerate(files) if number not in some)


def _is_settled(
    settings: ColumnSettings, names: list[str], rows: Sequence[Row], id_column: str | None
) -> bool:
    """Tell whether what has been seen of the files is enough to choose from."""
    pieces = named_pieces(settings)
    if pieces is None and guess_column(names, rows) is None:
        return False
    asked = [name for _, name in pieces or ()]
    others = [*asked, id_column, *settings.score_columns]
    return {name for name in others if name is not None} <= set(names)
