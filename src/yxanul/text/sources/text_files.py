"""Source of text files of several kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice
from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.text.config import ColumnSettings, JsonlSettings, ParquetSettings, TextSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.csv_rows import CsvSource
from yxanul.text.sources.file_source import FileSource
from yxanul.text.sources.files import File, find_files
from yxanul.text.sources.html import HtmlSource
from yxanul.text.sources.jsonl import JsonlSource
from yxanul.text.sources.kinds import SUFFIXES, Kind, kind_of, suffix_of
from yxanul.text.sources.parquet import ParquetSource
from yxanul.text.sources.plain_text import PlainTextSource
from yxanul.text.sources.remote import is_remote
from yxanul.text.sources.source import digest_of
from yxanul.text.split import Split, is_small, runs_of_few

_TEXT: dict[Kind, Any] = {"text": PlainTextSource, "html": HtmlSource}
_ROWS: dict[Kind, tuple[Any, type[JsonlSettings | ParquetSettings]]] = {
    "jsonl": (JsonlSource, JsonlSettings),
    "csv": (CsvSource, JsonlSettings),
    "parquet": (ParquetSource, ParquetSettings),
}
# More remote files than this are split by hash, without reading them for their sizes.
_FEW_REMOTE_FILES = 16


class TextFiles:
    """Source of kind `text`: plain text, HTML, and files with rows."""

    synthetic = False

    def __init__(self, name: str, settings: TextSettings):
        self.name = name
        self.settings = settings

    @property
    def notes(self) -> list[str]:
        """Number of files of each kind, and guessed columns."""
        notes = [note for source in self._sources.values() for note in source.notes]
        if set(self._files) == {"text"}:
            return notes
        counts = [f"{len(source.files)} {kind}" for kind, source in self._sources.items()]
        left_out = Counter(suffix_of(file.name) or "no suffix" for file in self._left_out)
        if left_out:
            others = ", ".join(f"{count} {suffix}" for suffix, count in left_out.items())
            counts.append(f"skipped as not text: {others}")
        return [f"files: {', '.join(counts)}", *notes]

    def slices(self) -> list[SourceSlice]:
        """Return the slices of each kind; with a limit a single slice."""
        for cached in ("_files", "_sources"):
            vars(self).pop(cached, None)
        parts = [
            replace(part, kind=kind)
            for kind, source in self._sources.items()
            for part in source.slices()
        ]
        limit = self.settings.limit
        if limit is None or len(self._sources) == 1:
            return parts
        mark = digest_of(*(f"{part.name}\t{part.fingerprint}" for part in parts))
        return [SourceSlice(f"first {limit} of all", None, mark)]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the slice, in order."""
        if part.name == f"first {self.settings.limit} of all":
            sources = self._sources.values()
            every = (s.read(each) for s in sources for each in s.slices())
            yield from islice(chain.from_iterable(every), self.settings.limit)
            return
        if part.kind not in self._sources:
            raise YxanulError(f"'{part.name}' no longer exists in {self.settings.path}")
        source = self._sources[part.kind]
        yield from source.read(part)
        if isinstance(source, FileSource):
            source.check_unchanged(part)

    def files_of(self, part: SourceSlice) -> list[str]:
        """Return the names of the files in a slice."""
        source = self._sources.get(part.kind)
        return source.files_of(part) if isinstance(source, PlainTextSource) else []

    def split(self, fraction: float) -> Split:
        """Return the split: passages are held out in runs, other documents by hash."""
        texts = [s for s in self._sources.values() if isinstance(s, PlainTextSource)]
        files = [file for source in texts for file in source.files]
        in_runs = self.settings.split_by in ("auto", "passages") and self.settings.limit is None
        if not in_runs or not texts:
            return Split(fraction, by_position=False)
        run_bytes = texts[0].run_bytes
        if is_small(sum(file.size_bytes or 0 for file in files), fraction, run_bytes):
            if is_remote(self.settings.path) and len(files) > _FEW_REMOTE_FILES:
                return Split(fraction, by_position=False)
            sized = [file for source in texts for file in source.sized()]
            return Split(fraction, runs=runs_of_few(sized, fraction, run_bytes))
        return Split(fraction)

    @cached_property
    def _files(self) -> dict[Kind | None, list[File]]:
        """Files by kind; None for those that are not text."""
        settings, chosen = self.settings, self.settings.suffixes
        if chosen == type(settings).model_fields["suffixes"].default:
            known = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
            chosen = known if is_remote(settings.path) else ("",)
        files: dict[Kind | None, list[File]] = {}
        for file in find_files(settings.path, chosen):
            files.setdefault(kind_of(file), []).append(file)
        return files

    @property
    def _left_out(self) -> list[File]:
        return self._files.get(None, [])

    @cached_property
    def _sources(self) -> dict[Kind, Any]:
        """The source of each kind of file."""
        settings, files = self.settings, self._files
        if not files.keys() - {None}:
            some = ", ".join(file.name for file in self._left_out[:3])
            count = len(self._left_out)
            raise YxanulError(
                f"{settings.path} holds nothing that can be read as text",
                got=f"{count} files ({some} ...)" if count > 1 else some,
                hint="convert such files to text first, such as with pdftotext or pandoc, "
                "and unpack archives",
            )
        if (settings.text_column or settings.template) and not files.keys() & _ROWS.keys():
            raise YxanulError(
                f"the source '{self.name}' has no columns",
                got=f"plain text in {settings.path}",
                hint="leave text_column and template out",
            )
        sources = {
            kind: reader(self.name, settings, files[kind])
            for kind, reader in _TEXT.items()
            if kind in files
        }
        common = {name: getattr(settings, name) for name in ColumnSettings.model_fields}
        for kind, (reader, row_settings) in _ROWS.items():
            if kind in files:
                given = row_settings(path=settings.path, **common)
                sources[kind] = reader(self.name, given, files[kind])
        return sources
