"""Batches of tokens: rows of the training streams, and windows of documents to be scored.

Shapes: B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from yxanul.base.errors import YxanulError
from yxanul.base.registry import lookup
from yxanul.data.mix import Row
from yxanul.data.order import TokenStream
from yxanul.data.shards import Shards

IGNORE = -100
"""Target of positions that are not scored: the `ignore_index` of cross-entropy."""


@dataclass(frozen=True)
class Batch:
    """Input ids, targets and document numbers of some rows."""

    ids_BT: torch.Tensor
    """Input ids, int64."""
    targets_BT: torch.Tensor
    """The next id at each position, or IGNORE, int64."""
    documents_BT: torch.Tensor
    """Index of the document within the row, from 0, int64, for document masking."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        return Batch(*(t.to(device) for t in (self.ids_BT, self.targets_BT, self.documents_BT)))

    def without_targets(self) -> Batch:
        """Return the batch with every target set to IGNORE."""
        return replace(self, targets_BT=torch.full_like(self.targets_BT, IGNORE))

    @property
    def num_targets(self) -> int:
        """Number of targets that are scored."""
        return int((self.targets_BT != IGNORE).sum())


@dataclass(frozen=True)
class WindowBatch(Batch):
    """Batch of windows, each row of one document."""

    numbers_B: torch.Tensor
    """Index of each row's document among those asked for, int64."""


class BatchLoader:
    """Loads planned rows as batches, from one token stream per source."""

    def __init__(self, orders: Mapping[str, TokenStream]) -> None:
        self._orders = dict(orders)

    def load(self, rows: Sequence[Row], seq_len: int) -> Batch:
        """Return the rows as a batch [len(rows), seq_len]; a row's last target is the next token of
        the stream."""
        ids_BT = np.empty((len(rows), seq_len), np.int64)
        targets_BT, documents_BT = np.empty_like(ids_BT), np.empty_like(ids_BT)
        for source, indices, start in _runs(rows, seq_len):
            order = lookup(self._orders, source, "source in the mix")
            ids, documents = order.read(start, len(indices) * seq_len + 1)
            ids_BT[indices] = ids[:-1].reshape(-1, seq_len)
            targets_BT[indices] = ids[1:].reshape(-1, seq_len)
            documents_BT[indices] = documents[:-1].reshape(-1, seq_len)
        documents_BT -= documents_BT[:, :1].copy()
        return Batch(*map(torch.from_numpy, (ids_BT, targets_BT, documents_BT)))


def _runs(rows: Sequence[Row], seq_len: int) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield (source, row indices in the batch, start) for each run of rows that are contiguous in
    their stream: one read per run."""
    by_source: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        by_source.setdefault(row.source, []).append(index)
    for source, indices in by_source.items():
        starts = np.array([rows[index].start for index in indices])
        breaks = np.flatnonzero(np.diff(starts) != seq_len) + 1
        for run in np.split(np.array(indices), breaks):
            yield source, run, rows[int(run[0])].start


@dataclass(frozen=True)
class WindowShape:
    """Layout of scored documents in batches."""

    seq_len: int
    """Maximum tokens in a window."""
    rows: int
    """Rows of full length in a batch; shorter windows fill more rows."""
    stride: int | None = None
    """Tokens from one window of a document to the next; default: half of seq_len."""
    pad_to: int | None = None
    """Pad every batch to this length, for fixed shapes; None: to its longest window."""


def validation_batches(
    shards: Shards, shape: WindowShape, documents: Sequence[int] | None = None
) -> Iterator[WindowBatch]:
    """Yield batches in which every token of the documents (default: all) is a target exactly once.

    Over all documents there are `shards.num_tokens` targets, eos included; each row holds one
    window of one document. The text has `shards.num_bytes` bytes (`document_bytes` for a subset).
    """
    chosen = range(shards.num_documents) if documents is None else documents
    lengths = shards.lengths[np.asarray(chosen, dtype=np.int64)].tolist()
    yield from _batches(
        lambda number, start, end: shards.piece(chosen[number], start, end),
        lengths,
        shards.end_of_text_id,
        shape,
    )


def text_batches(
    texts: Sequence[Sequence[int]], end_of_text_id: int, shape: WindowShape
) -> Iterator[WindowBatch]:
    """Yield batches in which every id of every text is a target exactly once.

    To score the end of a text, append `end_of_text_id` to its ids.
    """
    lengths = [len(ids) for ids in texts]
    yield from _batches(
        lambda number, start, end: np.asarray(texts[number][start:end], np.int64),
        lengths,
        end_of_text_id,
        shape,
    )


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


_Read = Callable[[int, int, int], np.ndarray]
"""(document, start, end) -> the ids [start, end) of the document, int64."""


def _batches(
    read: _Read,
    lengths: Sequence[int],
    end_of_text_id: int,
    shape: WindowShape,
) -> Iterator[WindowBatch]:
    windows = cut_windows(lengths, shape.seq_len, shape.stride)
    for group in group_windows(windows, shape.seq_len, shape.rows):
        longest = group[0].end - group[0].start
        width = longest if shape.pad_to is None else max(longest, shape.pad_to)
        yield _pad(read, group, width, end_of_text_id)


def _pad(read: _Read, group: Sequence[Window], width: int, end_of_text_id: int) -> WindowBatch:
    """Pad windows to rows of one width. An eos precedes the start of a document; padding is on the
    right, where causal attention hides it from every scored position."""
    ids_BT = np.full((len(group), width), end_of_text_id, np.int64)
    targets_BT = np.full_like(ids_BT, IGNORE)
    for index, window in enumerate(group):
        before = max(0, window.start - 1)
        text = read(window.document, before, window.end)
        length, skip = window.end - window.start, window.scored - window.start
        first = 1 if window.start == 0 else 0
        ids_BT[index, first:length] = text[:-1]
        targets_BT[index, skip:length] = text[window.scored - before :]
    numbers_B = np.array([window.document for window in group], np.int64)
    arrays = (ids_BT, targets_BT, np.zeros_like(ids_BT), numbers_B)
    return WindowBatch(*map(torch.from_numpy, arrays))
