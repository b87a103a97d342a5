"""Source of datasets on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from yxanul.base.errors import YxanulError
from yxanul.text.config import ColumnSettings, HubSettings, TextSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.file_source import READERS
from yxanul.text.sources.hub_files import HubAccess
from yxanul.text.sources.hub_plan import ROWS, Plan, find_plan
from yxanul.text.sources.hub_query import HubQuery
from yxanul.text.sources.hub_rows import HubRows
from yxanul.text.sources.reader import Reader


@dataclass(frozen=True, slots=True)
class HubSlice(SourceSlice):
    """Slice at a commit. The fingerprint depends on the content, not on the commit."""

    commit: str = ""


class HubSource:
    """One split of a dataset at one commit, read with the readers of files."""

    synthetic = False

    def __init__(self, name: str, settings: HubSettings):
        self.name = name
        self.settings = settings
        self._query = HubQuery.of(settings)
        self._at: dict[str, tuple[HubAccess, Reader | HubRows]] = {}

    @property
    def notes(self) -> list[str]:
        """Guessed column, unreachable hub, and pending downloads."""
        plan = find_plan(self._query)
        access, reader = self._open(plan.commit)
        notes = [*([plan.note] if plan.note else []), *reader.notes]
        missing = [file for file in map(access.file, plan.files) if file.cached() is None]
        if missing and not self.settings.streaming:
            size = sum(file.size_bytes or 0 for file in missing) / 1e6
            notes.append(
                f"up to {len(missing)} files of {size:,.1f} MB are downloaded as they are read"
            )
        return notes

    def slices(self) -> list[SourceSlice]:
        """List the slices, each with the commit, so that all processes read the same one."""
        commit = find_plan(self._query).commit
        return [
            HubSlice(part.name, part.size_bytes, part.fingerprint, commit=commit)
            for part in self._open(commit)[1].slices()
        ]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of a slice; columns are sampled first, without a download."""
        commit = part.commit if isinstance(part, HubSlice) else find_plan(self._query).commit
        access, reader = self._open(commit)
        _ = reader.notes
        access.downloads = not self.settings.streaming
        return reader.read(part)

    def _open(self, commit: str) -> tuple[HubAccess, Reader | HubRows]:
        """Return the files of a commit and what reads them."""
        if commit not in self._at:
            query = self._query._replace(revision=commit)
            access = HubAccess(query, self.settings.streaming)
            self._at[commit] = access, self._reader(find_plan(query), access)
        return self._at[commit]

    def _reader(self, plan: Plan, access: HubAccess) -> Reader | HubRows:
        settings, query = self.settings, access.query
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
        return READERS[kind](self.name, as_files, [access.file(entry) for entry in plan.files])
