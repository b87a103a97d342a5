"""Sliding windows over documents: every token is scored once, with enough left context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from yxanul.base.errors import YxanulError


class Window(NamedTuple):
    """Tokens [start, end) of a document, of which [scored, end) are scored."""

    document: int
    start: int
    scored: int
    end: int


def cut_windows(lengths: Sequence[int], seq_len: int, stride: int | None = None) -> list[Window]:
    """Cut documents of these lengths into windows of at most `seq_len` tokens.

    The first window of a document is scored whole; each later one advances by `stride` tokens
    (default: half of `seq_len`) and scores only these. So each token is scored once, with at least
    seq_len - stride tokens of context where the document has them.
    """
    stride = max(1, seq_len // 2) if stride is None else stride
    if not 1 <= stride <= seq_len:
        raise YxanulError("invalid stride of windows", got=stride, expected=f"1 to {seq_len}")
    windows: list[Window] = []
    for document, length in enumerate(lengths):
        end = min(seq_len, length)
        windows.append(Window(document, 0, 0, end))
        while end < length:
            scored, end = end, min(end + stride, length)
            windows.append(Window(document, max(0, end - seq_len), scored, end))
    return [window for window in windows if window.end > window.scored]


def group_windows(windows: Sequence[Window], seq_len: int, rows: int) -> Iterator[list[Window]]:
    """Yield one group of windows per batch: of similar length, and at most rows * seq_len tokens
    when padded to the longest."""
    group: list[Window] = []
    for window in sorted(windows, key=lambda window: window.start - window.end):
        longest = group[0].end - group[0].start if group else 0
        if group and longest * (len(group) + 1) > rows * seq_len:
            yield group
            group = []
        group.append(window)
    if group:
        yield group
