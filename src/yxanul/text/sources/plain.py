"""Plain text files."""

from __future__ import annotations

from collections.abc import Iterator

from yxanul.text.config import PlainSettings
from yxanul.text.documents import Document, Dropped
from yxanul.text.sources import passages
from yxanul.text.sources.by_file import FileSource
from yxanul.text.sources.bytestream import ByteStream, split_lines
from yxanul.text.sources.files import File


class PlainSource(FileSource):
    """Text files, cut into documents by separators, passages, lines, or not at all."""

    settings: PlainSettings

    def __init__(self, name: str, settings: PlainSettings):
        super().__init__(name, settings)
        self.suffixes = settings.suffixes

    def records(self, file: File) -> Iterator[Document | Dropped]:
        """Yield the documents of one file, numbered."""
        stream = ByteStream(file.path)
        for number, text in enumerate(self._texts(stream)):
            name = f"{file.name}#{number}"
            yield Dropped("broken_utf8", name) if text is None else Document(name, self.name, text)
        if stream.problem:
            yield Dropped(stream.problem, file.name)

    def _texts(self, stream: ByteStream) -> Iterator[str | None]:
        settings, way = self.settings, self.settings.split_by
        if way == "auto":
            found = has_separator_line(stream, settings.separator.encode())
            way = "separator" if found else "passages"
        if way == "passages":
            max_bytes = passages.PASSAGE_LINE_FACTOR * settings.passage_chars
            lines = passages.decode_lines(split_lines(stream, max_bytes))
            return passages.by_passage(lines, settings.passage_chars)
        lines = passages.decode_lines(split_lines(stream, passages.MAX_LINE_BYTES))
        if way == "separator":
            return passages.by_separator(lines, settings.separator)
        return passages.by_line(lines) if way == "lines" else passages.by_file(lines)


def has_separator_line(stream: ByteStream, separator: bytes) -> bool:
    """Tell whether some line holds the separator and nothing else."""
    before = b""
    for chunk in stream:
        window = before + chunk
        if separator in window:
            break
        before = window[-len(separator) :]
    else:
        return False
    lines = split_lines(stream, passages.MAX_LINE_BYTES)
    return any(ends and line.strip() == separator for line, ends in lines)
