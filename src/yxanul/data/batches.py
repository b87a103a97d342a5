"""Batches of tokens for the model: rows of the training streams, and windows to be scored.

Shapes: B rows, T positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from yxanul.base.registry import lookup
from yxanul.data.mix import Row
from yxanul.data.order import TokenStream
from yxanul.data.shards import Shards
from yxanul.data.windows import Window, cut_windows, group_windows

IGNORE = -100
"""The target of positions that are not scored."""


@dataclass(frozen=True)
class Batch:
    """Rows of tokens: what is read, what is to be predicted, and to which document it belongs."""

    ids_BT: torch.Tensor
    """The ids that the model reads, int64."""
    targets_BT: torch.Tensor
    """The id that follows each one, or IGNORE, int64."""
    documents_BT: torch.Tensor
    """The number of the document within the row, from 0 on, int64."""

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        return Batch(*(t.to(device) for t in (self.ids_BT, self.targets_BT, self.documents_BT)))

    def without_targets(self) -> Batch:
        """Return the batch with nothing to predict."""
        return replace(self, targets_BT=torch.full_like(self.targets_BT, IGNORE))

    @property
    def num_targets(self) -> int:
        """Targets that are scored."""
        return int((self.targets_BT != IGNORE).sum())


class BatchLoader:
    """Turns planned rows into batches; holds one order for each source."""

    def __init__(self, orders: Mapping[str, TokenStream]) -> None:
        self._orders = dict(orders)

    def load(self, rows: Sequence[Row], seq_len: int) -> Batch:
        """Return the rows as a batch [len(rows), seq_len]; a row's last target is the token that
        the stream goes on with."""
        ids_BT = np.empty((len(rows), seq_len), np.int64)
        targets_BT, documents_BT = np.empty_like(ids_BT), np.empty_like(ids_BT)
        for source, places, start in _runs(rows, seq_len):
            order = lookup(self._orders, source, "source in the mix")
            ids, documents = order.read(start, len(places) * seq_len + 1)
            ids_BT[places] = ids[:-1].reshape(-1, seq_len)
            targets_BT[places] = ids[1:].reshape(-1, seq_len)
            documents_BT[places] = documents[:-1].reshape(-1, seq_len)
        documents_BT -= documents_BT[:, :1].copy()
        return Batch(*map(torch.from_numpy, (ids_BT, targets_BT, documents_BT)))


def _runs(rows: Sequence[Row], seq_len: int) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield (source, places in the batch, start) of rows that follow each other in their stream:
    each run is read at once."""
    by_source: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        by_source.setdefault(row.source, []).append(place)
    for source, places in by_source.items():
        starts = np.array([rows[place].start for place in places])
        breaks = np.flatnonzero(np.diff(starts) != seq_len) + 1
        for run in np.split(np.array(places), breaks):
            yield source, run, rows[int(run[0])].start


@dataclass(frozen=True)
class WindowShape:
    """How documents to be scored are laid out in batches."""

    seq_len: int
    """Tokens in a window, at most."""
    rows: int
    """Rows of full length in a batch; shorter windows come in more rows."""
    stride: int | None = None
    """Tokens from one window of a document to the next; half of seq_len if left out."""
    pad_to: int | None = None
    """Pad all batches to this length, for fixed shapes; else each to its longest window."""


def validation_batches(
    shards: Shards, shape: WindowShape, documents: Sequence[int] | None = None
) -> Iterator[Batch]:
    """Yield batches in which every token of the documents (all, if not named) is a target once.

    The targets are `shards.num_tokens` in all, ends of text included; each row holds one window of
    one document. The text's size in bytes is `shards.num_bytes` (`document_bytes` of some).
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
) -> Iterator[Batch]:
    """Yield batches in which every id of every text is a target once.

    Whoever wants the end of a text scored appends `end_of_text_id` to its ids.
    """
    lengths = [len(ids) for ids in texts]
    yield from _batches(
        lambda number, start, end: np.asarray(texts[number][start:end], np.int64),
        lengths,
        end_of_text_id,
        shape,
    )


_Read = Callable[[int, int, int], np.ndarray]
"""Gives the ids [start, end) of a document: (document, start, end) -> int64."""


def _batches(
    read: _Read,
    lengths: Sequence[int],
    end_of_text_id: int,
    shape: WindowShape,
) -> Iterator[Batch]:
    windows = cut_windows(lengths, shape.seq_len, shape.stride)
    for group in group_windows(windows, shape.seq_len, shape.rows):
        longest = group[0].end - group[0].start
        width = longest if shape.pad_to is None else max(longest, shape.pad_to)
        yield _pad(read, group, width, end_of_text_id)


def _pad(read: _Read, group: Sequence[Window], width: int, end_of_text_id: int) -> Batch:
    """Lay windows out in rows of one width: a document begins after an end of text; padding is
    behind the text, where no position that is scored sees it."""
    ids_BT = np.full((len(group), width), end_of_text_id, np.int64)
    targets_BT = np.full_like(ids_BT, IGNORE)
    for place, window in enumerate(group):
        before = max(0, window.start - 1)
        text = read(window.document, before, window.end)
        length, skip = window.end - window.start, window.scored - window.start
        first = 1 if window.start == 0 else 0
        ids_BT[place, first:length] = text[:-1]
        targets_BT[place, skip:length] = text[window.scored - before :]
    documents_BT = np.zeros_like(ids_BT)
    return Batch(*map(torch.from_numpy, (ids_BT, targets_BT, documents_BT)))
