"""Plain text files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from yxanul.base.errors import YxanulError
from yxanul.text.config import TextSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources import byte_ranges, chunking
from yxanul.text.sources.byte_ranges import MAX_LINE_BYTES
from yxanul.text.sources.bytestream import ByteStream, other_encoding, split_blocks, split_lines
from yxanul.text.sources.file_source import FileSlice, FileSource
from yxanul.text.sources.files import File
from yxanul.text.split import RUN_BYTES, Sized, cut_by_runs

AUTO_BYTES = 64 << 20
"""So much of a file is looked at for a separator line."""

_FINDERS = {"lines": byte_ranges.find_line, "passages": byte_ranges.find_paragraph}


class PlainTextSource(FileSource):
    """Text files, cut into documents by separators, passages, lines, or not at all.

    A large file is read in ranges: its documents are the same as those of the whole file, but that
    passages begin anew at the first blank line of each range.
    """

    settings: TextSettings

    def __init__(self, name: str, settings: TextSettings, files: Sequence[File] | None = None):
        super().__init__(name, settings, files)
        self.suffixes = settings.suffixes

    def parts(self) -> list[SourceSlice]:
        """A part for every file, for every range of a large one, or for several small ones."""
        if self.settings.score_columns:
            raise YxanulError(
                f"the source '{self.name}' has no column '{self.settings.score_columns[0]}'",
                found="plain text, which has no columns at all",
                hint="give this source filters without a score",
            )
        return super().parts()

    def way_of_cutting(self, file: File) -> str | None:
        """Return how the file is cut, "auto" decided; None if it has to be read in one go."""
        if self.settings.split_by == "file" or _begins_otherwise(file):
            return None
        return self._way(ByteStream(file))

    def finder(self, way: str) -> byte_ranges.Find:
        """Return what finds the first document of a range."""
        return _FINDERS.get(way) or byte_ranges.finder_of_separators(self.settings.separator)

    def records(self, piece: FileSlice) -> Iterator[Document | Dropped]:
        """Yield the documents of one file or one range of it, numbered."""
        stream = self.stream(piece)
        if isinstance(stream, Dropped):
            yield stream
            return
        place, name, broken, number = piece.place, self.name, 0, -1
        for number, (text, held_out) in enumerate(self._texts(stream, piece)):
            if text is None:
                broken += 1
                yield Dropped("broken_utf8", f"{place}#{number}")
            else:
                yield Document(f"{place}#{number}", name, text, held_out=held_out)
        if stream.problem:
            yield Dropped(stream.problem, place)
        elif 2 * broken > number + 1:
            yield Dropped("not_utf8", place)

    def _way(self, stream: ByteStream) -> str:
        if self.settings.split_by != "auto":
            return self.settings.split_by
        found = has_separator_line(stream, self.settings.separator.encode())
        return "separator" if found else "passages"

    def sized(self) -> Iterator[Sized]:
        """Yield the files that are cut into passages, read to their ends for their sizes."""
        for file in self.files:
            stream = self.stream(FileSlice(file))
            if not isinstance(stream, Dropped) and self._way(stream) == "passages":
                size_bytes = sum(map(len, stream))
                yield Sized(file.name, size_bytes, _beginning(stream))

    @property
    def run_bytes(self) -> int:
        """How much of a text that is cut into passages is held out in one go."""
        return max(RUN_BYTES, 4 * self.settings.passage_chars)

    def _texts(
        self, stream: ByteStream, piece: FileSlice
    ) -> Iterator[tuple[str | None, bool | None]]:
        """Yield texts, and whether their places say that they are held out."""
        way = piece.way or self._way(stream)
        if way == "passages":
            return self._passages(stream, piece)
        lines = chunking.decode_blocks(split_blocks(stream, MAX_LINE_BYTES))
        if way == "separator":
            follows = stream.span is not None and stream.span.end is not None
            texts = chunking.by_separator(lines, self.settings.separator, follows)
        else:
            texts = chunking.by_line(lines) if way == "lines" else chunking.by_file(lines)
        return ((text, None) for text in texts)

    def _passages(
        self, stream: ByteStream, piece: FileSlice
    ) -> Iterator[tuple[str | None, bool | None]]:
        """Yield passages; they begin anew where a run of held-out ones begins or ends."""
        chars, split = self.settings.passage_chars, piece.split
        blocks = split_blocks(stream, chunking.PASSAGE_LINE_FACTOR * chars)
        beginning = b""
        if split.needs_beginnings and isinstance(
            whole := self.stream(FileSlice(piece.file)), ByteStream
        ):
            beginning = _beginning(whole)
        runs = split.runs_of(piece.file.name, beginning, self.run_bytes)
        if runs is None:
            for text in chunking.by_passage(chunking.decode_blocks(blocks), chars):
                yield text, None
            return
        at = stream.span.begin if stream.span else 0
        cut = cut_by_runs(blocks, at, runs, chunking.PASSAGE_PATIENCE * chars)
        for held_out, group in groupby(cut, key=itemgetter(0)):
            lines = chunking.decode_blocks(map(itemgetter(1), group))
            for text in chunking.by_passage(lines, chars):
                yield text, held_out


def _begins_otherwise(file: File) -> bool:
    """Tell whether the file begins like one in another encoding, or cannot be opened."""
    try:
        with file.open(1 << 10) as opened:
            return other_encoding(opened.read(4)) is not None
    except OSError:
        return True


def _beginning(stream: ByteStream) -> bytes:
    return b"".join(_first(stream, RUN_BYTES))


def has_separator_line(stream: ByteStream, separator: bytes) -> bool:
    """Tell whether some line near the beginning holds the separator and nothing else."""
    before = b""
    for chunk in _first(stream, AUTO_BYTES):
        window = before + chunk
        if separator in window:
            break
        before = window[-len(separator) :]
    else:
        return False
    lines = split_lines(_first(stream, AUTO_BYTES), MAX_LINE_BYTES)
    return any(ends and line.strip() == separator for line, ends in lines)


def _first(chunks: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yield the first so many bytes, whatever the chunks they come in."""
    for chunk in chunks:
        yield chunk[:most_bytes]
        most_bytes -= len(chunk)
        if most_bytes <= 0:
            return
