"""Data sets of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
from yxanul.text.sources.hub_files import Access, HubFile
from yxanul.text.sources.hub_plan import ROWS, Plan, find_plan
from yxanul.text.sources.hub_query import HubQuery, query_of
from yxanul.text.sources.hub_rows import StreamedRows, WholeRows
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
    """A part at a commit. Another commit with the same content leaves the fingerprint as it is."""

    commit: str = ""


class HubSource:
    """One split of a data set at one commit, read by what reads such files elsewhere."""

    synthetic = False

    def __init__(self, name: str, settings: HubSettings):
        self.name = name
        self.settings = settings
        self._wanted = query_of(settings)
        self._readers: dict[str, _Reader] = {}

    @property
    def notes(self) -> list[str]:
        """What was guessed, what the hub did not say, and what is going to be downloaded."""
        plan = find_plan(self._wanted)
        return [*([plan.note] if plan.note else []), *self._reader(plan.commit).notes]

    def parts(self) -> list[SourceSlice]:
        """List the parts, each with the commit: whoever reads one reads that."""
        commit = find_plan(self._wanted).commit
        return [
            HubSlice(part.name, part.size_bytes, part.fingerprint, commit=commit)
            for part in self._reader(commit).parts()
        ]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a part."""
        commit = part.commit if isinstance(part, HubSlice) else ""
        return self._reader(commit or find_plan(self._wanted).commit).read(part)

    def _reader(self, commit: str) -> _Reader:
        if commit not in self._readers:
            wanted = self._wanted._replace(revision=commit)
            self._readers[commit] = _Reader(self.name, self.settings, wanted)
        return self._readers[commit]


class _Reader:
    """Reads a data set at one commit."""

    def __init__(self, name: str, settings: HubSettings, wanted: HubQuery):
        self._settings = settings
        self._plan = find_plan(wanted)
        self._access = Access(wanted, settings.streaming)
        self._files = [self._access.file(entry) for entry in self._plan.files]
        self._source = _source(name, settings, wanted, self._plan, self._files)

    @property
    def notes(self) -> list[str]:
        missing = [file for file in self._files if self._access.cached(file) is None]
        if self._settings.streaming or not missing:
            return self._source.notes
        size = sum(file.size_bytes or 0 for file in missing)
        note = (
            f"as they are read, up to {len(missing)} files of {size / 1e6:,.1f} MB are downloaded"
        )
        return [*self._source.notes, note]

    def parts(self) -> list[SourceSlice]:
        return self._source.parts()

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Have a look at the columns first: that needs no download."""
        _ = self._source.notes
        self._access.downloads = not self._settings.streaming
        return self._source.read(part)


def _source(
    name: str, settings: HubSettings, wanted: HubQuery, plan: Plan, files: list[HubFile]
) -> Source:
    """Return the source that reads such files, or rows where `datasets` makes them."""
    if plan.format == ROWS:
        # Whole, the set would be there before its first row: too much for a few of them.
        as_stream = settings.streaming or (settings.limit is not None and wanted.split.isalnum())
        return (StreamedRows if as_stream else WholeRows)(name, settings, wanted)
    kind, settings_of_kind = _READERS[plan.format]
    if kind is PlainTextSource and (
        settings.template or settings.text_column not in (None, "text")
    ):
        raise YxanulError(
            f"the data set '{wanted.name}' has no columns",
            found="text files",
            hint="leave text_column and template out",
        )
    shared = settings_of_kind.model_fields.keys() & ColumnSettings.model_fields.keys()
    options = {field: getattr(settings, field) for field in shared}
    place = f"'{wanted.name}' at {wanted.revision}"
    return kind(name, settings_of_kind(path=place, **options), files)
