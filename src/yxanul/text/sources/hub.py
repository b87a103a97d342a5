"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from yxanul.text.config import HubSettings
from yxanul.text.documents import Document, Dropped, Part
from yxanul.text.sources.arrow_rows import ROWS_AT_ONCE, rows_of, text_like
from yxanul.text.sources.columns import SAMPLE_ROWS, Columns, Row, choose_columns
from yxanul.text.sources.files import digest_of
from yxanul.text.sources.hub_load import Wanted, load_once
from yxanul.text.sources.ranges import parse_range, range_name, ranges

if TYPE_CHECKING:
    from datasets import Dataset

ROWS_A_PART = 20_000


class HubSource:
    """The rows of one split, downloaded whole; one or several of their columns make the text."""

    synthetic = False

    def __init__(self, name: str, settings: HubSettings):
        self.name = name
        self.settings = settings

    @property
    def notes(self) -> list[str]:
        """Which column was guessed."""
        return [self._columns.note] if self._columns.note else []

    def parts(self) -> list[Part]:
        """Runs of rows."""
        total = min(len(self._dataset), self.settings.limit or len(self._dataset))
        mark = digest_of(version_of(self._dataset), repr(self._columns.pieces))
        split = self.settings.split
        return [Part(range_name(split, rows), None, mark) for rows in ranges(total, ROWS_A_PART)]

    def read(self, part: Part) -> Iterator[Document | Dropped]:
        """Yield the documents of the part's rows."""
        numbers = parse_range(self.name, part.name)
        for number, row in zip(numbers, _rows(self._dataset, numbers, self._columns), strict=True):
            name = f"{self.settings.split}#{number}"
            if row is None:
                yield Dropped("broken_utf8", name)
            else:
                yield self._columns.document(row, self.name, name)

    @property
    def _dataset(self) -> Dataset:
        chosen = self.settings
        return load_once(
            Wanted(chosen.name, chosen.config, chosen.split, chosen.revision, chosen.data_files)
        )

    @cached_property
    def _columns(self) -> Columns:
        dataset, settings = self._dataset, self.settings
        return choose_columns(
            settings, dataset.column_names, lambda: _sample(dataset), f"'{settings.name}'"
        )


def version_of(dataset: Dataset) -> str:
    """Return what changes with the content: the client names its files after commit or content."""
    files = [Path(file["filename"]).parts[-4:] for file in dataset.cache_files]
    return repr((files, len(dataset))) if files else dataset._fingerprint


def _rows(dataset: Dataset, numbers: range, columns: Columns) -> Iterator[Row | None]:
    """Yield some rows as plain values; only the needed columns are looked at."""
    table = dataset.select_columns(columns.names).with_format("arrow")
    for start in range(numbers.start, numbers.stop, ROWS_AT_ONCE):
        yield from rows_of(table[start : min(start + ROWS_AT_ONCE, numbers.stop)])


def _sample(dataset: Dataset) -> list[Row]:
    names = text_like(dataset.features.arrow_schema)
    if not names:
        return []
    rows = dataset.select_columns(names).with_format("arrow")[:SAMPLE_ROWS]
    return [row for row in rows_of(rows) if row is not None]
