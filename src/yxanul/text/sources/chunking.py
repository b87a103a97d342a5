"""Chunking of plain text into documents, in bounded memory.

None stands for a document with invalid UTF-8, whose bytes are lone surrogates until it is whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from yxanul.text.sources.bytestream import unix_lines

MAX_DOCUMENT_CHARS = 1 << 24
# Without a blank line, a passage ends with the first line beyond this multiple of passage_chars.
PASSAGE_OVERRUN = 2
# A line longer than this multiple of passage_chars is cut at a space.
PASSAGE_LINE_FACTOR = 16
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_SIGN = re.compile(r"\S")


class Lines(NamedTuple):
    """Whole lines without the last newline, or a piece of a very long one (`ends` is False).

    `sound` means valid UTF-8. Documents do not depend on how lines are batched.
    """

    text: str
    ends: bool
    sound: bool = True


def decode_blocks(blocks: Iterable[tuple[bytes, bool]]) -> Iterator[Lines]:
    r"""Decode blocks of lines; "\r\n" becomes "\n"."""
    for raw, ends in blocks:
        raw = unix_lines(raw) if ends else raw
        try:
            yield Lines(raw.decode(), ends)
        except UnicodeDecodeError:
            yield Lines(raw.decode(errors="surrogateescape"), ends, sound=False)


def _checked(text: str, sound: bool) -> str | None:
    """Return a text, or None if it had invalid UTF-8; of `sound` lines it had none."""
    try:
        if not sound:
            text.encode()
        return text
    except UnicodeEncodeError:
        return None


class _Document:
    """Buffer for the lines of the current document."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._pieces: list[str] = []
        self._sound = True
        self.blank = True
        self.chars = 0

    def add(self, text: str, ends: bool, sound: bool) -> None:
        self._sound = self._sound and sound
        self._pieces.append(text + "\n" if ends else text)
        self.blank = self.blank and not text.strip()
        self.chars += len(self._pieces[-1])

    def take(self) -> str | None:
        """Return the document, and start the next one."""
        document = _checked("".join(self._pieces).strip("\n"), self._sound)
        self._start()
        return document


def by_line(blocks: Iterable[Lines]) -> Iterator[str | None]:
    """Yield every non-blank line; a piece of a very long line counts as a line."""
    for text, _, sound in blocks:
        for line in text.split("\n"):
            if line and not line.isspace():
                yield _checked(line, sound)


def by_file(blocks: Iterable[Lines]) -> Iterator[str | None]:
    """Yield the whole text; a huge one comes in pieces."""
    document = _Document()
    for lines in _small_enough(blocks, document):
        document.add(*lines)
        if document.chars >= MAX_DOCUMENT_CHARS:
            yield document.take()
    if not document.blank:
        yield document.take()


def _small_enough(blocks: Iterable[Lines], document: _Document) -> Iterator[Lines]:
    """Yield lines in blocks while the document is far from its maximum size, then one by one."""
    for lines in blocks:
        if document.chars + len(lines.text) + 1 < MAX_DOCUMENT_CHARS:
            yield lines
        else:
            yield from (lines._replace(text=text) for text in lines.text.split("\n"))


def by_separator(
    blocks: Iterable[Lines], separator: str, separator_follows: bool = False
) -> Iterator[str | None]:
    """Yield the texts between separators; skip empty ones before the first or after the last.

    A line with nothing but a separator is removed with its newline. `separator_follows` means that
    the blocks are a range of a file that ends right before a separator.
    """
    document, started = _Document(), False
    for lines in _small_enough(blocks, document):
        text, ends, sound = lines
        begin = 0
        for stop, go_on in _separators(text, separator):
            document.add(text[begin:stop], False, sound)
            is_text = started or not document.blank
            before = document.take()
            if is_text:
                yield before
            started, begin = True, go_on
        if begin <= len(text):
            document.add(text[begin:] if begin else text, ends, sound)
        if document.chars >= MAX_DOCUMENT_CHARS:
            yield document.take()
    if not document.blank or (separator_follows and started):
        yield document.take()


def _separators(text: str, separator: str) -> Iterator[tuple[int, int]]:
    """Yield for each separator the end of the text before it and the start of the text after it.

    The start is past the end of `text` if the last line has nothing but a separator.
    """
    at = text.find(separator)
    while at >= 0:
        after = at + len(separator)
        line = text.rfind("\n", 0, at) + 1
        end = text.find("\n", after)
        end = len(text) if end < 0 else end
        is_alone = not text[line:at].strip() and not text[after:end].strip()
        yield (line, end + 1) if is_alone else (at, after)
        at = text.find(separator, after)


def by_passage(blocks: Iterable[Lines], passage_chars: int) -> Iterator[str | None]:
    """Yield passages: whole paragraphs, joined until they have `passage_chars` characters.

    A passage ends at the first blank line that ends `passage_chars` after its start, or at any line
    that ends PASSAGE_OVERRUN times that after it. It depends only on the given blocks (a file, or a
    range of it) up to its own end.
    """
    text, sound = "", True
    for lines in blocks:
        sound = lines.sound and (sound or not text)
        text += lines.text + "\n" if lines.ends else lines.text
        begin = 0
        while sign := _SIGN.search(text, begin):
            begin = max(begin, text.rfind("\n", begin, sign.start()) + 1)
            line_end = text.find("\n", begin + PASSAGE_OVERRUN * passage_chars - 1) + 1
            before = text.rfind("\n", begin, begin + passage_chars - 1)
            blank = _BLANK_LINE.search(text, max(before, begin), line_end or len(text))
            end = blank.end() if blank else line_end
            if not end and not lines.ends and len(text) - begin >= PASSAGE_OVERRUN * passage_chars:
                end = len(text)
            if not end:
                break
            yield _checked(text[begin:end].strip("\n"), sound)
            begin = end
        text = text[begin:] if sign else ""
    if text:
        yield _checked(text.strip("\n"), sound)
