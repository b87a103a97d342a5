"""Text of HTML pages."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import chain

from yxanul.text.sources.bytestream import ByteStream
from yxanul.text.sources.files import File
from yxanul.text.sources.plain_text import PlainTextReader

_CHARSET = re.compile(rb"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
# Browsers read these names as their supersets (WHATWG Encoding Standard).
_READ_AS = {
    "iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252", "ascii": "cp1252",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "iso-8859-9": "cp1254",
}  # fmt: skip
_HIDDEN = {"script", "style", "template", "noscript", "svg", "math"}
# Paragraphs are separated by blank lines; items and rows start a new line.
_LINES = {"br", "li", "tr", "dt", "dd", "option"}
_PARAGRAPHS = {
    "address", "article", "aside", "blockquote", "body", "div", "dl", "fieldset", "figcaption",
    "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav",
    "ol", "p", "pre", "section", "table", "title", "ul",
}  # fmt: skip


class HtmlStream(ByteStream):
    """Visible text of an HTML file, with blank lines between paragraphs."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the text in chunks of UTF-8."""
        chunks = super().__iter__()
        first = next(chunks, b"")
        parser = _Text()
        try:
            for decoded in codecs.iterdecode(chain([first], chunks), _encoding_of(first)):
                parser.feed(decoded)
                if text := parser.take():
                    yield text.encode()
        except UnicodeError:
            self.problem = "not_utf8"
        parser.close()
        if text := parser.take():
            yield text.encode()


class HtmlReader(PlainTextReader):
    """Reads HTML files, whose text is chunked into documents like plain text."""

    stream_type = HtmlStream

    def range_mode(self, file: File) -> str | None:
        """Return None: a page is read as a whole."""
        return None


def _encoding_of(first: bytes) -> str:
    """Return the charset declared at the beginning of a page, default UTF-8."""
    named = _CHARSET.search(first[:4096])
    name = named[1].decode().lower() if named else "utf-8"
    name = _READ_AS.get(name, name)
    try:
        # Fails for UTF-16 and UTF-32: with a byte order mark, the stream is UTF-8 by now.
        b" ".decode(name)
    except (LookupError, UnicodeError):
        return "utf-8"
    return name


class _Text(HTMLParser):
    """Collects the text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._hidden = self._pre = 0
        self._gap, self._begun = "", False

    def take(self) -> str:
        """Return the text since the last call."""
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """Skip a section such as `<![foo]>` as browsers do; the base class refuses unknown ones."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i, report)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _HIDDEN
        self._pre += tag == "pre"
        self._break_at(tag)

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(self._hidden - (tag in _HIDDEN), 0)
        self._pre = max(self._pre - (tag == "pre"), 0)
        self._break_at(tag)

    def handle_data(self, data: str) -> None:
        if self._hidden:
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
