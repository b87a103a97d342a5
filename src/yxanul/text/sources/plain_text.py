"""Plain text files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from yxanul.base.errors import YxanulError
from yxanul.text.config import TextSettings
from yxanul.text.documents import Document, Dropped, SourceSlice
from yxanul.text.sources import byte_ranges, chunking
from yxanul.text.sources.byte_ranges import MAX_LINE_BYTES
from yxanul.text.sources.bytestream import ByteStream, split_blocks
from yxanul.text.sources.files import File
from yxanul.text.sources.reader import FileSlice, StreamReader
from yxanul.text.split import SPAN_BYTES, FileHead, cut_by_spans

AUTO_BYTES = 64 << 20
"""Bytes of a file that are searched for a separator line."""

_FINDERS = {"lines": byte_ranges.find_line, "passages": byte_ranges.find_paragraph}


class PlainTextReader(StreamReader):
    """Reads text files, chunked into documents at separators, passages, lines, or not at all.

    A large file is read in ranges, with the same documents as the whole file, except that passages
    restart at the first blank line of each range.
    """

    settings: TextSettings

    def slices(self) -> list[SourceSlice]:
        """Return a slice per file, per range of a large one, or per group of small ones."""
        if self.settings.score_columns:
            raise YxanulError(
                f"the source '{self.name}' has no column '{self.settings.score_columns[0]}'",
                got="plain text, which has no columns",
                hint="use filters that read no column for this source",
            )
        return super().slices()

    def range_mode(self, file: File) -> str | None:
        """Return how the file is chunked, with "auto" resolved; None if it must be read whole."""
        if self.settings.split_by == "file":
            return None
        return self._mode(ByteStream(file))

    def boundary_finder(self, mode: str) -> byte_ranges.FindStart:
        """Return the function that finds the first document of a range."""
        return _FINDERS.get(mode) or byte_ranges.separator_finder(self.settings.separator)

    def records(self, piece: FileSlice, stream: ByteStream) -> Iterator[Document | Dropped]:
        """Yield the documents of one file or one range of it, numbered."""
        place, broken, number = piece.place, 0, -1
        for number, (text, held_out) in enumerate(self._texts(stream, piece)):
            if text is None:
                broken += 1
                yield Dropped("broken_utf8", f"{place}#{number}")
            else:
                yield Document(f"{place}#{number}", text, held_out=held_out)
        if stream.problem:
            yield Dropped(stream.problem, place)
        elif 2 * broken > number + 1:
            yield Dropped("not_utf8", place)

    def _mode(self, stream: ByteStream) -> str:
        if self.settings.split_by != "auto":
            return self.settings.split_by
        found = has_separator_line(stream, self.settings.separator.encode())
        return "separator" if found else "passages"

    def heads(self) -> Iterator[FileHead]:
        """Yield the files that are chunked into passages, reading them whole for their sizes."""
        for file in self.files:
            stream = self.stream_type(file)
            if self._mode(stream) == "passages":
                size_bytes = sum(map(len, stream))
                yield FileHead(file.name, size_bytes, b"".join(_first(stream, SPAN_BYTES)))

    @property
    def may_have_passages(self) -> bool:
        """Whether files may be chunked into passages."""
        return self.settings.split_by in ("auto", "passages")

    @property
    def span_bytes(self) -> int:
        """Bytes of passages that are held out in one span."""
        return max(SPAN_BYTES, 4 * self.settings.passage_chars)

    def _texts(
        self, stream: ByteStream, piece: FileSlice
    ) -> Iterator[tuple[str | None, bool | None]]:
        """Yield texts, each with whether it is held out by position (None: by hash)."""
        mode = piece.mode or self._mode(stream)
        if mode == "passages":
            yield from self._passages(stream, piece)
            return
        lines = chunking.decode_blocks(split_blocks(stream, MAX_LINE_BYTES))
        if mode == "separator":
            follows = stream.byte_range is not None and stream.byte_range.end is not None
            texts = chunking.by_separator(lines, self.settings.separator, follows)
        else:
            texts = chunking.by_line(lines) if mode == "lines" else chunking.by_file(lines)
        for text in texts:
            yield text, None

    def _passages(
        self, stream: ByteStream, piece: FileSlice
    ) -> Iterator[tuple[str | None, bool | None]]:
        """Yield passages, restarting where a held-out span begins or ends."""
        chars, split = self.settings.passage_chars, piece.split
        blocks = split_blocks(stream, chunking.PASSAGE_LINE_FACTOR * chars)
        whole = self.stream_type(piece.file) if split.needs_beginnings else ()
        beginning = b"".join(_first(whole, SPAN_BYTES))
        spans = split.spans_of(piece.file.name, beginning, self.span_bytes)
        if spans is None:
            for text in chunking.by_passage(chunking.decode_blocks(blocks), chars):
                yield text, None
            return
        at = stream.byte_range.begin if stream.byte_range else 0
        cut = cut_by_spans(blocks, at, spans, chunking.PASSAGE_OVERRUN * chars)
        for held_out, group in groupby(cut, key=itemgetter(0)):
            lines = chunking.decode_blocks(map(itemgetter(1), group))
            for text in chunking.by_passage(lines, chars):
                yield text, held_out


def has_separator_line(stream: ByteStream, separator: bytes) -> bool:
    """Return whether a line in the first AUTO_BYTES consists of the separator alone."""
    line = re.compile(rb"^\s*" + re.escape(separator) + rb"\s*$", re.MULTILINE)
    blocks = split_blocks(_first(stream, AUTO_BYTES), MAX_LINE_BYTES)
    return any(ends and separator in block and line.search(block) for block, ends in blocks)


def _first(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield the first `max_bytes`, in chunks."""
    for chunk in chunks:
        yield chunk[:max_bytes]
        max_bytes -= len(chunk)
        if max_bytes <= 0:
            return
