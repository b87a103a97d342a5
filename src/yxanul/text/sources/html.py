"""The text of HTML pages."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from yxanul.text.sources.bytestream import ByteStream
from yxanul.text.sources.files import File
from yxanul.text.sources.plain_text import PlainTextSource

_CHARSET = re.compile(rb"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
_UNSEEN = {"script", "style", "template", "noscript", "svg", "math"}
# Paragraphs stand apart; of these, items and rows only begin a line.
_LINES = {"br", "li", "tr", "dt", "dd", "option"}
_PARAGRAPHS = {
    "address", "article", "aside", "blockquote", "body", "div", "dl", "fieldset", "figcaption",
    "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav",
    "ol", "p", "pre", "section", "table", "title", "ul",
}  # fmt: skip


class HtmlStream(ByteStream):
    """The text of an HTML file: what a reader sees of it, paragraphs with blank lines between."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the text in chunks of UTF-8."""
        chunks = super().__iter__()
        first = next(chunks, b"")
        parser, decode = _Text(), _decoder_of(first)
        try:
            chunk = first
            while chunk:
                parser.feed(decode(chunk, False))
                if text := parser.take():
                    yield text.encode()
                chunk = next(chunks, b"")
            parser.feed(decode(b"", True))
        except UnicodeError:
            self.problem = "not_utf8"
        parser.close()
        if text := parser.take():
            yield text.encode()


class HtmlSource(PlainTextSource):
    """HTML files, whose text is cut into documents as plain text is."""

    stream_type = HtmlStream

    def range_mode(self, file: File) -> str | None:
        """A page is read from its beginning."""
        return None


def _decoder_of(first: bytes):
    """Return what decodes a page that begins like this: it may say its encoding itself."""
    named = _CHARSET.search(first[:4096])
    try:
        codec = codecs.lookup(named[1].decode("ascii") if named else "utf-8")
    except LookupError:
        codec = codecs.lookup("utf-8")
    if codec.name.startswith(("utf-16", "utf-32")):  # it is in UTF-8 by now
        codec = codecs.lookup("utf-8")
    return codec.incrementaldecoder().decode


class _Text(HTMLParser):
    """Gathers the text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._unseen = self._pre = 0
        self._gap, self._begun = "", False

    def take(self) -> str:
        """Return what has come since the last time."""
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN
        self._pre += tag == "pre"
        self._break_at(tag)

    def handle_endtag(self, tag: str) -> None:
        self._unseen = max(self._unseen - (tag in _UNSEEN), 0)
        self._pre = max(self._pre - (tag == "pre"), 0)
        self._break_at(tag)

    def handle_data(self, data: str) -> None:
        if self._unseen:
            return
        before = after = ""
        if not self._pre:
            before, after = (" " if end.isspace() else "" for end in (data[:1], data[-1:]))
            data = " ".join(data.split())
        self._gap = self._gap or before
        if data:
            self._pieces += [self._gap if self._begun else "", data]
            self._gap, self._begun = after, True

    def _break_at(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._gap = "\n\n"
        elif tag in _LINES and self._gap != "\n\n":
            self._gap = "\n"
        elif tag in ("td", "th"):
            self._gap = self._gap or " "
