"""Cutting plain text into documents, in bounded memory. A document of None held broken UTF-8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_LINE_BYTES = 1 << 20
MAX_DOCUMENT_CHARS = 1 << 24
# Without a blank line, a passage ends at the end of a line after so many times its size ...
PASSAGE_PATIENCE = 2
# ... and a line of so many times its size is cut at a space.
PASSAGE_LINE_FACTOR = 16


class Line(NamedTuple):
    """A line, or a piece of a very long one (then `ends` is False); `sound` is valid UTF-8."""

    text: str
    ends: bool
    sound: bool


def decode_lines(lines: Iterable[tuple[bytes, bool]]) -> Iterator[Line]:
    """Decode lines; broken bytes are replaced and the line marked."""
    for raw, ends in lines:
        try:
            yield Line(raw.decode(), ends, True)
        except UnicodeDecodeError:
            yield Line(raw.decode(errors="replace"), ends, False)


class _Gathered:
    """The lines of the document that is under way."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._pieces: list[str] = []
        self._sound = True
        self.blank = True
        self.chars = 0

    def add(self, text: str, ends: bool, sound: bool) -> None:
        self._pieces.append(text + "\n" if ends else text)
        self._sound = self._sound and sound
        self.blank = self.blank and not text.strip()
        self.chars += len(self._pieces[-1])

    def take(self) -> str | None:
        """Return the document, or None if some of it was broken, and start the next one."""
        text = "".join(self._pieces).strip("\n") if self._sound else None
        self._start()
        return text


def by_line(lines: Iterable[Line]) -> Iterator[str | None]:
    """Yield every line that is not blank."""
    for line in lines:
        if line.text.strip():
            yield line.text if line.sound else None


def by_file(lines: Iterable[Line]) -> Iterator[str | None]:
    """Yield the whole text; a huge one comes in pieces."""
    gathered = _Gathered()
    for line in lines:
        gathered.add(*line)
        if gathered.chars >= MAX_DOCUMENT_CHARS:
            yield gathered.take()
    if not gathered.blank:
        yield gathered.take()


def by_separator(lines: Iterable[Line], separator: str) -> Iterator[str | None]:
    """Yield what lies between separators; nothing before the first or after the last is no text."""
    gathered, started = _Gathered(), False
    for line in lines:
        alone = line.text.strip() == separator
        first, *others = ["", ""] if alone else line.text.split(separator)
        gathered.add(first, line.ends and not others, line.sound)
        for number, text in enumerate(others, 1):
            if started or not gathered.blank:
                yield gathered.take()
            started = True
            gathered.add(text, line.ends and number == len(others) and not alone, line.sound)
        if gathered.chars >= MAX_DOCUMENT_CHARS:
            yield gathered.take()
    if not gathered.blank:
        yield gathered.take()


def by_passage(lines: Iterable[Line], passage_chars: int) -> Iterator[str | None]:
    """Yield passages: whole paragraphs, gathered until they have `passage_chars` characters.

    A passage depends on its own file alone, and on no more of it than what stands before its end.
    """
    gathered = _Gathered()
    for line in lines:
        blank = not line.text.strip()
        if blank and gathered.blank:
            continue
        gathered.add(*line)
        enough = passage_chars if blank else PASSAGE_PATIENCE * passage_chars
        if gathered.chars >= enough:
            yield gathered.take()
    if not gathered.blank:
        yield gathered.take()
