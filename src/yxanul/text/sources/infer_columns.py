"""Inference of the text columns from samples of a source's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

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
_MIN_ROWS = 10


class FileSample(NamedTuple):
    """Columns of a file, some of its rows, and its first problem."""

    names: Sequence[str]
    rows: Sequence[Row]
    problem: Dropped | None = None


def infer_columns(
    settings: ColumnSettings,
    files: Sequence[File],
    sample: Callable[[File, int], FileSample],
    where: str,
    expected: str,
) -> Columns:
    """Return the columns given by the settings, or a guess from sampled files.

    The first file may be metadata about the others, so files are sampled evenly from first to last,
    and more of them until all columns are known. `sample` returns at most the given number of rows
    of a file. Raises YxanulError for a column that no file has and for files without rows.
    """
    names: dict[str, None] = {}
    rows: list[Row] = []
    problem: Dropped | None = None
    pieces = named_pieces(settings)
    id_column = getattr(settings, "id_column", None)
    asked = {*(name for _, name in pieces or ()), id_column, *settings.score_columns} - {None}
    steps = SAMPLE_FILES - 1
    spread = dict.fromkeys(round((len(files) - 1) * step / steps) for step in range(steps + 1))
    order = [*spread, *(number for number in range(len(files)) if number not in spread)]
    min_files = min(len(files), SAMPLE_FILES)
    for seen, number in enumerate(order, 1):
        sampled = sample(files[number], max(SAMPLE_ROWS // min_files, _MIN_ROWS))
        names.update(dict.fromkeys(sampled.names))
        rows.extend(sampled.rows)
        problem = problem or sampled.problem
        is_known = pieces is not None or guess_column(list(names), rows) is not None
        if seen >= min_files and is_known and asked <= names.keys():
            break
    if not names or (problem and not rows and pieces is None):
        raise YxanulError(
            f"no row could be read from {where}",
            got=f"{problem.where} {PROBLEMS[problem.cause]}" if problem else "no rows",
            expected=expected,
            hint=CURES.get(problem.cause) if problem else None,
        )
    where = files[0].name if len(files) == 1 else where
    return choose_columns(settings, list(names), lambda: rows, where, id_column)
