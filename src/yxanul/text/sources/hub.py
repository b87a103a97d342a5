"""Source of datasets on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.text.config import (
    ColumnSettings,
    HubSettings,
    JsonlSettings,
    ParquetSettings,
    TextSettings,
)
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.hub_files import HubFiles
from yxanul.text.sources.hub_plan import ROWS, find_plan
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.hub_rows import DownloadedRows, StreamedRows
from yxanul.text.sources.jsonl import JsonlSource
from yxanul.text.sources.parquet import ParquetSource
from yxanul.text.sources.plain_text import PlainTextSource
from yxanul.text.sources.source import Source

_READERS: dict[str, tuple[Any, type[Any]]] = {
    "json": (JsonlSource, JsonlSettings),
    "parquet": (ParquetSource, ParquetSettings),
    "text": (PlainTextSource, TextSettings),
}


@dataclass(frozen=True, slots=True)
class HubSlice(SourceSlice):
    """Slice at a commit. The fingerprint depends on the content, not on the commit."""

    commit: str = ""


class HubSource:
    """One split of a dataset at one commit, read with the file readers of the other sources."""

    synthetic = False

    def __init__(self, name: str, settings: HubSettings):
        self.name = name
        self.settings = settings
        self._query = HubQuery.of(settings)
        self._readers: dict[str, _Reader] = {}

    @property
    def notes(self) -> list[str]:
        """Guessed column, unreachable hub, and pending downloads."""
        plan = find_plan(self._query)
        return [*([plan.note] if plan.note else []), *self._reader(plan.commit).notes]

    def slices(self) -> list[SourceSlice]:
        """List the slices, each with the commit, so that all processes read the same one."""
        commit = find_plan(self._query).commit
        return [
            HubSlice(part.name, part.size_bytes, part.fingerprint, commit=commit)
            for part in self._reader(commit).source.slices()
        ]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a slice."""
        commit = part.commit if isinstance(part, HubSlice) else ""
        return self._reader(commit or find_plan(self._query).commit).read(part)

    def _reader(self, commit: str) -> _Reader:
        if commit not in self._readers:
            query = self._query._replace(revision=commit)
            self._readers[commit] = _Reader(self.name, self.settings, query)
        return self._readers[commit]


class _Reader:
    """A dataset at one commit."""

    def __init__(self, name: str, settings: HubSettings, query: HubQuery):
        self._name, self._settings, self._query = name, settings, query
        self._plan = find_plan(query)
        self._access = HubFiles(query, settings.streaming)
        self._files = [self._access.file(entry) for entry in self._plan.files]

    @property
    def notes(self) -> list[str]:
        missing = [file for file in self._files if self._access.cached(file) is None]
        if self._settings.streaming or not missing:
            return self.source.notes
        size = sum(file.size_bytes or 0 for file in missing) / 1e6
        note = f"up to {len(missing)} files of {size:,.1f} MB are downloaded as they are read"
        return [*self.source.notes, note]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a slice; columns are sampled first, without a download."""
        _ = self.source.notes
        self._access.downloads = not self._settings.streaming
        return self.source.read(part)

    @cached_property
    def source(self) -> Source:
        """The source that reads the files, or rows via `datasets` for other formats."""
        settings, query = self._settings, self._query
        if self._plan.format == ROWS:
            # Without streaming, the whole set is downloaded before its first row: too much for few.
            is_few = settings.limit is not None and query.split.isalnum()
            rows = StreamedRows if settings.streaming or is_few else DownloadedRows
            return rows(self._name, settings, query)
        kind, settings_of_kind = _READERS[self._plan.format]
        has_columns = kind is not PlainTextSource
        if not has_columns and (settings.template or settings.text_column not in (None, "text")):
            raise YxanulError(
                f"the dataset '{query.name}' has no columns",
                got="text files",
                hint="omit text_column and template",
            )
        shared = settings_of_kind.model_fields.keys() & ColumnSettings.model_fields.keys()
        options = {field: getattr(settings, field) for field in shared}
        path = f"'{query.name}' at {query.revision}"
        return kind(self._name, settings_of_kind(path=path, **options), self._files)
