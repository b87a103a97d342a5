"""Source of files: it finds them, and each is read by the reader of its kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice

from yxanul.base.errors import YxanulError
from yxanul.text.config import JsonlSettings, ParquetSettings, TextSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources.files import File, find_files
from yxanul.text.sources.html import HtmlReader
from yxanul.text.sources.kinds import SUFFIXES, kind_of, suffix_of
from yxanul.text.sources.parquet import ParquetReader
from yxanul.text.sources.plain_text import PlainTextReader
from yxanul.text.sources.reader import Reader, files_of
from yxanul.text.sources.remote import is_remote
from yxanul.text.sources.rows import CsvReader, JsonReader, RowReader
from yxanul.text.sources.source import digest_of
from yxanul.text.split import Split, is_small, spans_of_small_text

READERS: dict[str, type[Reader]] = {
    "text": PlainTextReader,
    "html": HtmlReader,
    "jsonl": JsonReader,
    "csv": CsvReader,
    "parquet": ParquetReader,
}
# More remote files than this are split by hash, without reading them for their sizes.
_FEW_REMOTE_FILES = 16


class FileSource:
    """Source of kind `text` (files of any kind), `jsonl` or `parquet` (files of that kind)."""

    synthetic = False

    def __init__(self, name: str, settings: TextSettings | JsonlSettings | ParquetSettings):
        self.name = name
        self.settings = settings

    @property
    def notes(self) -> list[str]:
        """Number of files of each kind, and guessed columns."""
        notes = [note for reader in self._readers.values() for note in reader.notes]
        if set(self._files) == {"text"} or self.settings.kind != "text":
            return notes
        counts = [f"{len(reader.files)} {kind}" for kind, reader in self._readers.items()]
        left_out = Counter(
            suffix_of(file.name) or "no suffix" for file in self._files.get(None, ())
        )
        if left_out:
            others = ", ".join(f"{count} {suffix}" for suffix, count in left_out.items())
            counts.append(f"skipped as not text: {others}")
        return [f"files: {', '.join(counts)}", *notes]

    def slices(self) -> list[SourceSlice]:
        """Return the slices of each kind; with a limit and several kinds a single slice."""
        for cached in ("_files", "_readers"):
            vars(self).pop(cached, None)
        parts = [
            replace(part, kind=kind)
            for kind, reader in self._readers.items()
            for part in reader.slices()
        ]
        limit = self.settings.limit
        if limit is None or len(self._readers) == 1:
            return parts
        mark = digest_of(*(f"{part.name}\t{part.fingerprint}" for part in parts))
        return [SourceSlice(f"first {limit} of all", None, mark, "all", work=parts)]

    def read(self, part: SourceSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of the slice, in order; raise if a local file changed meanwhile."""
        if part.kind == "all":
            every = chain.from_iterable(map(self.read, part.work))
            yield from islice(every, self.settings.limit)
            return
        reader = READERS[part.kind].of(part, self.name, self.settings)
        yield from reader.read(part)
        reader.check_unchanged(part)

    def split(self, fraction: float, parts: list[SourceSlice]) -> list[SourceSlice]:
        """Return the slices with their splits: passages are held out in spans, others by hash."""
        split = self._split(fraction)
        if split.spans is None:
            return [replace(part, split=split) for part in parts]
        return [
            replace(part, split=split.of(file.name for file in files_of(part))) for part in parts
        ]

    def _split(self, fraction: float) -> Split:
        settings = self.settings
        texts = [r for r in self._readers.values() if isinstance(r, PlainTextReader)]
        files = [file for reader in texts for file in reader.files]
        if not texts or settings.limit is not None or not texts[0].may_have_passages:
            return Split(fraction, by_position=False)
        span_bytes = texts[0].span_bytes
        if not is_small(sum(file.size_bytes or 0 for file in files), fraction, span_bytes):
            return Split(fraction)
        if is_remote(settings.path) and len(files) > _FEW_REMOTE_FILES:
            return Split(fraction, by_position=False)
        heads = [head for reader in texts for head in reader.heads()]
        return Split(fraction, spans=spans_of_small_text(heads, fraction, span_bytes))

    @cached_property
    def _files(self) -> dict[str | None, list[File]]:
        """Files by kind; None for those that are not text."""
        settings = self.settings
        if not isinstance(settings, TextSettings):
            return {settings.kind: find_files(settings.path, SUFFIXES[settings.kind])}
        chosen = settings.suffixes
        if chosen == type(settings).model_fields["suffixes"].default:
            known = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
            chosen = known if is_remote(settings.path) else ("",)
        files: dict[str | None, list[File]] = {}
        for file in find_files(settings.path, chosen):
            files.setdefault(kind_of(file), []).append(file)
        return files

    @cached_property
    def _readers(self) -> dict[str, Reader]:
        """The reader of each kind of file."""
        settings, files = self.settings, self._files
        if not files.keys() - {None}:
            some = ", ".join(file.name for file in files[None][:3])
            count = len(files[None])
            raise YxanulError(
                f"{settings.path} holds nothing that can be read as text",
                got=f"{count} files ({some} ...)" if count > 1 else some,
                hint="convert such files to text first, such as with pdftotext or pandoc, "
                "and unpack archives",
            )
        readers = {
            kind: reader(self.name, settings, files[kind])
            for kind, reader in READERS.items()
            if kind in files
        }
        has_columns = any(isinstance(reader, RowReader) for reader in readers.values())
        if (settings.text_column or settings.template) and not has_columns:
            raise YxanulError(
                f"the source '{self.name}' has no columns",
                got=f"plain text in {settings.path}",
                hint="leave text_column and template out",
            )
        return readers
