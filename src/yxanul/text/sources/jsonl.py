"""JSON files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from yxanul.base.errors import YxanulError
from yxanul.text.config import JsonlSettings
from yxanul.text.documents import Document, Dropped
from yxanul.text.sources.by_file import FileSource
from yxanul.text.sources.bytestream import ByteStream
from yxanul.text.sources.columns import SAMPLE_ROWS, Columns, Row, choose_columns
from yxanul.text.sources.files import File
from yxanul.text.sources.json_rows import json_rows


class JsonlSource(FileSource):
    """Objects of JSON files; one or several of their columns make the text."""

    settings: JsonlSettings
    suffixes = (".jsonl", ".ndjson", ".json")

    def __init__(self, name: str, settings: JsonlSettings):
        super().__init__(name, settings)

    @property
    def notes(self) -> list[str]:
        """Which column was guessed."""
        return [self._columns.note] if self._columns.note else []

    def records(self, file: File) -> Iterator[Document | Dropped]:
        """Yield the documents of one file, numbered unless a column names them."""
        for number, row in enumerate(json_rows(ByteStream(file.path), file.name)):
            if isinstance(row, Dropped):
                yield row
            else:
                yield self._columns.document(row, self.name, f"{file.name}#{number}")

    def way_of_reading(self) -> str:
        """Return the columns: another first file may lead to another guess."""
        return repr((self._columns.pieces, self._columns.id_column))

    @cached_property
    def _columns(self) -> Columns:
        settings, (where, rows) = self.settings, self._sample()
        names = list(dict.fromkeys(name for row in rows for name in row))
        return choose_columns(settings, names, lambda: rows, where, settings.id_column)

    def _sample(self) -> tuple[str, list[Row]]:
        """Return the first rows, and the name of the file that they are from."""
        for file in self.files():
            records = islice(json_rows(ByteStream(file.path), file.name), SAMPLE_ROWS)
            rows = [row for row in records if not isinstance(row, Dropped)]
            if rows:
                return file.name, rows
        raise YxanulError(
            f"no row could be read from {self.settings.path}",
            wanted="one JSON object a line, or one array of objects",
        )
