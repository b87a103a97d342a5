"""Split of text into training and validation: by the text and its place, by nothing else."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

RUN_BYTES = 1 << 16
"""Text that is chunked into passages is held out in runs of so many bytes: neighbours reveal much
of each other, and fewer bytes are too few to compare models by."""

_MOST_FOR_A_RUN = 0.1  # of a small text
# From so many runs on, chance holds out about what it should.
_ENOUGH_RUNS = 10
_HASH_BYTES = 8
_HASHES = 2 ** (8 * _HASH_BYTES)
_BLANK_LINE = re.compile(rb"(?:\A|(?<=\n))[ \t\r\f\v]*\n")


def is_held_out(text: str, fraction: float) -> bool:
    """Tell whether `text` belongs to validation, as about `fraction` of all texts do.

    Equal texts fall on the same side, whatever the file, source or machine; what is held out at
    a fraction is held out at every larger one.
    """
    return hash_of(text.encode()) < fraction * _HASHES


def hash_of(text: bytes) -> int:
    """Return the hash that decides about a text."""
    digest = hashlib.blake2b(text, digest_size=_HASH_BYTES, person=b"yxanul split")
    return int.from_bytes(digest.digest(), "little")


def fraction_for(lowest: int) -> float:
    """Return a fraction at which a text whose hash is `lowest` is just held out."""
    return math.nextafter(lowest / _HASHES, 1)


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of held-out bytes in a file: `length` from `begin` on, and again every `period`."""

    begin: int
    length: int
    period: int = 1 << 62

    def holds(self, at: int) -> bool:
        """Tell whether the byte `at` is held out."""
        return (at - self.begin) % self.period < self.length

    def next_change(self, at: int) -> int:
        """Return the first place after `at` where a run begins or ends."""
        into = (at - self.begin) % self.period
        return at - into + (self.length if into < self.length else self.period)


NO_RUN = Runs(0, 0)


@dataclass(frozen=True)
class Split:
    """What of a part is held out."""

    fraction: float = 0.0
    """Documents are, whose hash is among so many of the lowest ..."""
    by_position: bool = True
    """... but for passages of a text, which are held out in runs, ..."""
    runs: Mapping[str, Runs] | None = field(default=None, hash=False)
    """... of the files that are named, or of each file at every so many bytes."""

    def of(self, files: Iterable[str]) -> Split:
        """Return what it says of some files alone."""
        if self.runs is None:
            return self
        mine = {name: self.runs[name] for name in files if name in self.runs}
        return replace(self, runs=mine)

    @property
    def mark(self) -> str:
        """A representation for fingerprints."""
        runs = None if self.runs is None else sorted(map(repr, self.runs.items()))
        return repr((self.fraction, self.by_position, runs))

    @property
    def needs_beginnings(self) -> bool:
        """Whether the beginning of a file decides where its runs are."""
        return self.by_position and self.runs is None and self.fraction > 0

    def runs_of(self, file: str, beginning: bytes, run_bytes: int) -> Runs | None:
        """Return the runs of a file that begins like this; None where documents' hashes decide.

        Equal files have equal runs.
        """
        if not self.by_position:
            return None
        if self.runs is not None:
            return self.runs.get(file, NO_RUN)
        if not self.fraction:
            return NO_RUN
        period = round(run_bytes / self.fraction)
        first = int(hash_of(beginning) / _HASHES * period) - run_bytes
        return Runs(first, run_bytes, period)


NOTHING_HELD_OUT = Split()


@dataclass(frozen=True, slots=True)
class Sized:
    """A file that is chunked into passages."""

    name: str
    size_bytes: int
    beginning: bytes


def is_small(size_bytes: int, fraction: float, run_bytes: int = RUN_BYTES) -> bool:
    """Tell whether a text is too small for chance to decide what is held out of it."""
    return fraction * size_bytes < _ENOUGH_RUNS * run_bytes


def runs_of_few(
    files: Sequence[Sized], fraction: float, run_bytes: int = RUN_BYTES
) -> dict[str, Runs] | None:
    """Return what is held out of a text so small that chance may not decide; None of a larger one.

    It is `fraction` of the text, and at least `run_bytes` unless that is more than a tenth of it.
    The files give it in the order of their hashes, each in one run.
    """
    total = sum(file.size_bytes for file in files)
    if not is_small(total, fraction, run_bytes):
        return None
    wanted = round(max(fraction * total, min(run_bytes, _MOST_FOR_A_RUN * total)))
    runs: dict[str, Runs] = {}
    for file in sorted(files, key=lambda file: (hash_of(file.beginning), file.name)):
        length = min(file.size_bytes, wanted, max(run_bytes, int(fraction * file.size_bytes)))
        if length > 0:
            share = hash_of(b"place" + file.beginning) / _HASHES
            runs[file.name] = Runs(int(share * (file.size_bytes - length)), length)
            wanted -= length
    return runs


def cut_by_runs(
    blocks: Iterable[tuple[bytes, bool]], at: int, runs: Runs, max_delay_bytes: int
) -> Iterator[tuple[bool, tuple[bytes, bool]]]:
    """Yield blocks of lines, of which the first one begins at the byte `at` of a file, cut where
    runs begin and end; with each, whether it is held out.

    A cut moves on to where a paragraph begins, or where any line does if that is far.
    """
    held_out, border = runs.holds(at), runs.next_change(at)
    for block, ends in blocks:
        lines = block + b"\n" if ends else block
        while ends and lines:
            cut = _cut(lines, border - at, border - at + max_delay_bytes)
            if cut is None:
                break
            if cut:
                yield held_out, (lines[: cut - 1], True)
            lines, at = lines[cut:], at + cut
            held_out, border = runs.holds(border), runs.next_change(border)
        if lines:
            yield held_out, (lines[:-1] if ends else lines, ends)
        at += len(lines)


def _cut(lines: bytes, low: int, high: int) -> int | None:
    """Return where a paragraph begins from `low` on, or the first line from `high` on."""
    if len(lines) < low:
        return None
    paragraph = _BLANK_LINE.search(lines, lines.rfind(b"\n", 0, max(low - 1, 0)) + 1)
    line = 0 if high <= 0 else lines.find(b"\n", high - 1) + 1 or None
    return min((m for m in (paragraph and paragraph.end(), line) if m is not None), default=None)
