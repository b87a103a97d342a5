"""Train/validation split, determined only by a document's text and position."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

SPAN_BYTES = 1 << 16
"""Text chunked into passages is held out in contiguous spans of this many bytes: neighbouring
passages leak into each other, and fewer bytes are too few to compare models by."""

_MAX_SPAN_SHARE = 0.1  # of a small text
# From this many spans on, a hash-based split holds out about the requested fraction.
_ENOUGH_SPANS = 10
_HASH_BYTES = 8
_HASHES = 2 ** (8 * _HASH_BYTES)
_BLANK_LINE = re.compile(rb"(?:\A|(?<=\n))[ \t\r\f\v]*\n")


def is_held_out(text: str, fraction: float) -> bool:
    """Return whether `text` belongs to the held-out split, as about `fraction` of all texts do.

    Equal texts get the same split, whatever the file, source or machine; a text held out at one
    fraction is held out at every larger one.
    """
    return hash_of(text.encode()) < fraction * _HASHES


def hash_of(text: bytes) -> int:
    """Return the hash that decides the split of a text."""
    digest = hashlib.blake2b(text, digest_size=_HASH_BYTES, person=b"yxanul split")
    return int.from_bytes(digest.digest(), "little")


def fraction_for(lowest: int) -> float:
    """Return the smallest fraction at which a text with hash `lowest` is held out."""
    return math.nextafter(lowest / _HASHES, 1)


@dataclass(frozen=True, slots=True)
class HeldOutSpans:
    """Spans of held-out bytes in a file: `length` from `begin` on, and again every `period`."""

    begin: int
    length: int
    period: int = 1 << 62

    def holds(self, at: int) -> bool:
        """Return whether the byte `at` is held out."""
        return (at - self.begin) % self.period < self.length

    def next_change(self, at: int) -> int:
        """Return the first offset after `at` where a run begins or ends."""
        into = (at - self.begin) % self.period
        return at - into + (self.length if into < self.length else self.period)


NO_SPANS = HeldOutSpans(0, 0)


@dataclass(frozen=True)
class Split:
    """Held-out split of a slice."""

    fraction: float = 0.0
    """Documents whose hash is in this lowest fraction of all hashes are held out."""
    by_position: bool = True
    """Passages are held out in spans of bytes instead of by hash."""
    spans: Mapping[str, HeldOutSpans] | None = field(default=None, hash=False)
    """Spans by file name; None: periodic spans in every file."""

    def of(self, files: Iterable[str]) -> Split:
        """Return this split restricted to some files."""
        if self.spans is None:
            return self
        mine = {name: self.spans[name] for name in files if name in self.spans}
        return replace(self, spans=mine)

    @property
    def mark(self) -> str:
        """Representation for fingerprints."""
        spans = None if self.spans is None else sorted(map(repr, self.spans.items()))
        return repr((self.fraction, self.by_position, spans))

    @property
    def needs_beginnings(self) -> bool:
        """Whether spans are placed by a hash of the beginning of each file."""
        return self.by_position and self.spans is None and self.fraction > 0

    def spans_of(self, file: str, beginning: bytes, span_bytes: int) -> HeldOutSpans | None:
        """Return the spans of a file; None if documents are held out by hash.

        They depend on `beginning`, the file's first bytes, so equal files have equal spans.
        """
        if not self.by_position:
            return None
        if self.spans is not None:
            return self.spans.get(file, NO_SPANS)
        if not self.fraction:
            return NO_SPANS
        period = round(span_bytes / self.fraction)
        first = int(hash_of(beginning) / _HASHES * period) - span_bytes
        return HeldOutSpans(first, span_bytes, period)


NOTHING_HELD_OUT = Split()


@dataclass(frozen=True, slots=True)
class FileHead:
    """Size and beginning of a file that is chunked into passages."""

    name: str
    size_bytes: int
    beginning: bytes


def is_small(size_bytes: int, fraction: float, span_bytes: int = SPAN_BYTES) -> bool:
    """Return whether a text is too small for hash-placed spans."""
    return fraction * size_bytes < _ENOUGH_SPANS * span_bytes


def spans_of_small_text(
    files: Sequence[FileHead], fraction: float, span_bytes: int = SPAN_BYTES
) -> dict[str, HeldOutSpans] | None:
    """Return the held-out spans of a small text; None for one large enough for hash-placed spans.

    Together they cover `fraction` of the text, but at least `span_bytes` or a tenth of it,
    whichever is less. A file has one at most; files are taken in the order of their hashes.
    """
    total = sum(file.size_bytes for file in files)
    if not is_small(total, fraction, span_bytes):
        return None
    remaining = round(max(fraction * total, min(span_bytes, _MAX_SPAN_SHARE * total)))
    spans: dict[str, HeldOutSpans] = {}
    for file in sorted(files, key=lambda file: (hash_of(file.beginning), file.name)):
        length = min(file.size_bytes, remaining, max(span_bytes, int(fraction * file.size_bytes)))
        if length > 0:
            share = hash_of(b"place" + file.beginning) / _HASHES
            spans[file.name] = HeldOutSpans(int(share * (file.size_bytes - length)), length)
            remaining -= length
    return spans


def cut_by_spans(
    blocks: Iterable[tuple[bytes, bool]], at: int, spans: HeldOutSpans, max_delay_bytes: int
) -> Iterator[tuple[bool, tuple[bytes, bool]]]:
    """Yield blocks of lines cut at the ends of spans, each with whether it is held out.

    The first block begins at byte `at` of the file. A cut is moved to the next paragraph, or to
    the next line if that is more than `max_delay_bytes` away.
    """
    held_out, border = spans.holds(at), spans.next_change(at)
    for block, ends in blocks:
        lines = block + b"\n" if ends else block
        while ends and lines:
            cut = _cut(lines, border - at, border - at + max_delay_bytes)
            if cut is None:
                break
            if cut:
                yield held_out, (lines[: cut - 1], True)
            lines, at = lines[cut:], at + cut
            held_out, border = spans.holds(border), spans.next_change(border)
        if lines:
            yield held_out, (lines[:-1] if ends else lines, ends)
        at += len(lines)


def _cut(lines: bytes, low: int, high: int) -> int | None:
    """Return the start of the first paragraph from `low` on or line from `high` on."""
    if len(lines) < low:
        return None
    paragraph = _BLANK_LINE.search(lines, lines.rfind(b"\n", 0, max(low - 1, 0)) + 1)
    line = 0 if high <= 0 else lines.find(b"\n", high - 1) + 1 or None
    return min((m for m in (paragraph and paragraph.end(), line) if m is not None), default=None)
