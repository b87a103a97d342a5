"""Source of datasets on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from yxanul.base.errors import YxanulError
from yxanul.text.config import ColumnSettings, HubSettings, TextSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.file_source import READERS
from yxanul.text.sources.hub_files import HubFile, hub_file
from yxanul.text.sources.hub_plan import ROWS, find_plan
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.hub_rows import HubRows
from yxanul.text.sources.reader import Reader


class HubSource:
    """One split of a dataset at one commit, read with the readers of files."""

    synthetic = False

    def __init__(self, name: str, settings: HubSettings):
        self.name = name
        self.settings = settings
        self._query = HubQuery.of(settings)
        self._readers: dict[str, Reader | HubRows] = {}

    @property
    def notes(self) -> list[str]:
        """Guessed column, unreachable hub, and pending downloads."""
        plan = find_plan(self._query)
        reader = self._reader(plan.commit)
        notes = [*([plan.note] if plan.note else []), *reader.notes]
        files = (file for file in reader.files if isinstance(file, HubFile))
        missing = [file for file in files if file.cached() is None]
        if missing and not self.settings.streaming:
            size = sum(file.size_bytes or 0 for file in missing) / 1e6
            notes.append(
                f"up to {len(missing)} files of {size:,.1f} MB are downloaded as they are read"
            )
        return notes

    def slices(self) -> list[SourceSlice]:
        """List the slices, each with the commit, so that all processes read the same one."""
        commit = find_plan(self._query).commit
        parts = self._reader(commit).slices()
        return [replace(part, work=(commit, part.work)) for part in parts]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a slice; only now files are downloaded."""
        commit, work = part.work
        reader = self._reader(commit)
        part = replace(part, work=work)
        if isinstance(reader, HubRows):
            return reader.read(part)
        pieces = [
            replace(piece, file=replace(piece.file, downloads=not self.settings.streaming))
            for piece in work
        ]
        return type(reader).of(part, self.name, reader.settings).read(replace(part, work=pieces))

    def _reader(self, commit: str) -> Reader | HubRows:
        """Return what reads the files of a commit."""
        if commit not in self._readers:
            self._readers[commit] = self._open(self._query._replace(revision=commit))
        return self._readers[commit]

    def _open(self, query: HubQuery) -> Reader | HubRows:
        settings, plan = self.settings, find_plan(query)
        if plan.format == ROWS:
            # Without streaming, the whole set is downloaded before its first row: too much for few.
            is_few = settings.limit is not None and query.split.isalnum()
            return HubRows(self.name, settings, query, settings.streaming or is_few)
        if plan.format == "text" and (
            settings.template or settings.text_column not in (None, "text")
        ):
            raise YxanulError(
                f"the dataset '{query.name}' has no columns",
                got="text files",
                hint="omit text_column and template",
            )
        columns = {field: getattr(settings, field) for field in ColumnSettings.model_fields}
        as_files = TextSettings(path=f"'{query.name}' at {query.revision}", **columns)
        kind = {"json": "jsonl"}.get(plan.format, plan.format)
        files = [hub_file(entry, query, settings.streaming) for entry in plan.files]
        return READERS[kind](self.name, as_files, files)
