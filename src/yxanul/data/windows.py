"""Documents cut into windows, so that every token is scored once and with enough before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from yxanul.base.errors import YxanulError


class Window(NamedTuple):
    """A stretch [start, end) of a document's tokens, of which [scored, end) are scored."""

    document: int
    start: int
    scored: int
    end: int


def cut_windows(lengths: Sequence[int], seq_len: int, stride: int | None = None) -> list[Window]:
    """Cut documents of these lengths into windows of at most `seq_len` tokens.

    A document's first window is scored whole; each further one moves on by `stride` tokens
    (half of `seq_len` if left out), which alone are scored: so each token is scored once, with at
    least seq_len - stride tokens before it as soon as the document has so many.
    """
    stride = max(1, seq_len // 2) if stride is None else stride
    if not 1 <= stride <= seq_len:
        raise YxanulError(
            "the stride of windows is impossible", got=stride, expected=f"1 to {seq_len}"
        )
    windows: list[Window] = []
    for document, length in enumerate(lengths):
        end = min(seq_len, length)
        windows.append(Window(document, 0, 0, end))
        while end < length:
            scored, end = end, min(end + stride, length)
            windows.append(Window(document, max(0, end - seq_len), scored, end))
    return [window for window in windows if window.end > window.scored]


def group_windows(windows: Sequence[Window], seq_len: int, rows: int) -> Iterator[list[Window]]:
    """Yield windows in groups for one batch: of like length, at most rows * seq_len tokens when
    all are padded to the longest."""
    group: list[Window] = []
    for window in sorted(windows, key=lambda window: window.start - window.end):
        longest = group[0].end - group[0].start if group else 0
        if group and longest * (len(group) + 1) > rows * seq_len:
            yield group
            group = []
        group.append(window)
    if group:
        yield group
