"""Plain text files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from yxanul.base.errors import YxanulError
from yxanul.text.config import PlainSettings
from yxanul.text.documents import Document, Dropped, Part
from yxanul.text.sources import passages, spans
from yxanul.text.sources.by_file import FileSource, Piece
from yxanul.text.sources.bytestream import ByteStream, is_other_encoding, split_blocks, split_lines
from yxanul.text.sources.files import File
from yxanul.text.sources.spans import MAX_LINE_BYTES

AUTO_BYTES = 64 << 20
"""So much of a file is looked at for a separator line."""

_FINDERS = {"lines": spans.find_line, "passages": spans.find_paragraph}


class PlainSource(FileSource):
    """Text files, cut into documents by separators, passages, lines, or not at all.

    A large file is read in ranges: its documents are the same as those of the whole file, but that
    passages begin anew at the first blank line of each range.
    """

    settings: PlainSettings

    def __init__(self, name: str, settings: PlainSettings, files: Sequence[File] | None = None):
        super().__init__(name, settings, files)
        self.suffixes = settings.suffixes

    def parts(self) -> list[Part]:
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

    def finder(self, way: str) -> spans.Find:
        """Return what finds the first document of a range."""
        return _FINDERS.get(way) or spans.finder_of_separators(self.settings.separator)

    def records(self, piece: Piece) -> Iterator[Document | Dropped]:
        """Yield the documents of one file or one range of it, numbered."""
        stream = self.stream(piece)
        if isinstance(stream, Dropped):
            yield stream
            return
        place, name = piece.place, self.name
        for number, text in enumerate(self._texts(stream, piece.way or self._way(stream))):
            if text is None:
                yield Dropped("broken_utf8", f"{place}#{number}")
            else:
                yield Document(f"{place}#{number}", name, text)
        if stream.problem:
            yield Dropped(stream.problem, place)

    def _way(self, stream: ByteStream) -> str:
        if self.settings.split_by != "auto":
            return self.settings.split_by
        found = has_separator_line(stream, self.settings.separator.encode())
        return "separator" if found else "passages"

    def _texts(self, stream: ByteStream, way: str) -> Iterator[str | None]:
        settings = self.settings
        if way == "passages":
            max_bytes = passages.PASSAGE_LINE_FACTOR * settings.passage_chars
            lines = passages.decode_blocks(split_blocks(stream, max_bytes))
            return passages.by_passage(lines, settings.passage_chars)
        lines = passages.decode_blocks(split_blocks(stream, MAX_LINE_BYTES))
        if way == "separator":
            follows = stream.span is not None and stream.span.end is not None
            return passages.by_separator(lines, settings.separator, follows)
        return passages.by_line(lines) if way == "lines" else passages.by_file(lines)


def _begins_otherwise(file: File) -> bool:
    """Tell whether the file begins like one in another encoding, or cannot be opened."""
    try:
        with file.open(1 << 10) as opened:
            return is_other_encoding(opened.read(4))
    except OSError:
        return True


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
