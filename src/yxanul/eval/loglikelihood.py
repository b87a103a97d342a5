"""Log-likelihood of continuations of a context.

Letters: B rows, T time, M tokens after which something is scored, U scored tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import NamedTuple

import torch
from torch import Tensor

from yxanul.eval.requests import Request, RollingRequest, common_prefix
from yxanul.model.attention.mask import Trees
from yxanul.model.language_model import LanguageModel

BATCH_TOKENS = {"cpu": 1_024, "cuda": 32_768}
"""Tokens in a batch by type of device; on a CPU what measured fastest."""
_ROW_TOKENS = 128
"""Length up to which requests without a shared prefix are packed into one row."""


class LogLikelihood(NamedTuple):
    """Score of a request."""

    nats: float
    """Sum of the log-likelihoods of the continuation's tokens."""
    is_greedy: bool
    """Whether each of them is the most likely token."""


def crop(request: Request, seq_len: int) -> list[Request]:
    """Return the request with its context cut on the left so that the model reads at most `seq_len`
    tokens; a longer continuation becomes several requests, of at most half of `seq_len` each, or
    all of it for a rolling one."""
    context, continuation = list(request.context), list(request.continuation)
    if len(continuation) <= seq_len:
        return [Request(context[-(seq_len + 1 - len(continuation)) :], continuation)]
    step = seq_len if isinstance(request, RollingRequest) else max(1, seq_len // 2)
    ids = context + continuation
    return [
        Request(ids[max(0, start + len(piece) - 1 - seq_len) : start], piece)
        for start in range(len(context), len(ids), step)
        for piece in [ids[start : start + step]]
    ]


@dataclass(slots=True)
class _PackedRow:
    """Requests packed into one row as prefix trees, depth first: a shared prefix is stored once.
    The last token of a request is a target only."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """Index after the last descendant of each token."""
    scored: list[tuple[int, int, int]] = field(default_factory=list)
    """(request, index of the token before, target) of each token of each continuation."""
    path: list[int] = field(default_factory=list)
    """Index of each token of the last request."""

    def add(self, ids: list[int], shared: int, number: int, num_scored: int) -> None:
        """Add the tokens of a request but the last, of which the first `shared` are the last
        request's too."""
        length = len(self.ids) + len(ids) - 1 - shared
        self.path[shared:] = range(len(self.ids), length)
        self.ids += ids[shared:-1]
        self.positions += range(shared, len(self.path))
        self.ends += [length] * (len(self.path) - shared)
        for index in self.path[:shared]:
            self.ends[index] = length
        self.scored += zip(
            [number] * num_scored, self.path[-num_scored:], ids[-num_scored:], strict=True
        )

    @property
    def needs_mask(self) -> bool:
        """Whether some token is no ancestor of the last."""
        return self.positions[-1] != len(self.ids) - 1

    @property
    def cost(self) -> tuple[bool, int]:
        return self.needs_mask, len(self.ids)


def log_likelihoods(
    model: LanguageModel,
    requests: Sequence[Request],
    seq_len: int,
    batch_tokens: int | None = None,
) -> Iterator[dict[int, LogLikelihood]]:
    """Yield the scores by index of the request, batch by batch, longest first.

    A shared prefix is computed once (tree attention); short requests are packed into one row even
    if they share none. Rows are right-padded to batches of at most `batch_tokens` tokens, if there
    are several in a batch. Models are in fp32; a score depends on the other requests by rounding
    only.
    """
    batch_tokens = batch_tokens or BATCH_TOKENS[model.embedding.tokens.device.type]
    totals = torch.tensor([len(request.continuation) for request in requests])
    num_left, hits = totals.clone(), torch.zeros_like(totals)
    sums = torch.zeros(len(requests), dtype=torch.float64)
    for batch in _batches(_rows(requests, seq_len), batch_tokens):
        request_U, nats_U, greedy_U = _score(model, batch)
        sums.index_add_(0, request_U, nats_U.double())
        hits.index_add_(0, request_U, greedy_U.long())
        num_left.index_add_(0, request_U, -torch.ones_like(request_U))
        done = request_U.unique()
        done = done[num_left[done] == 0]
        found = zip(sums[done].tolist(), (hits == totals)[done].tolist(), strict=True)
        yield dict(zip(done.tolist(), starmap(LogLikelihood, found), strict=True))


def _rows(requests: Sequence[Request], seq_len: int) -> Iterator[_PackedRow]:
    """Lay out requests in rows of at most _ROW_TOKENS, or `seq_len` where they share much."""
    pieces = sorted(
        ([*piece.context, *piece.continuation], number, len(piece.continuation))
        for number, request in enumerate(requests)
        for piece in crop(request, seq_len)
    )
    row, last = _PackedRow(), []
    for ids, number, num_scored in pieces:
        shared = min(common_prefix(last, ids), len(ids) - 1)
        limit = seq_len if 2 * shared >= len(ids) - 1 else _ROW_TOKENS
        if row.ids and len(row.ids) + len(ids) - 1 - shared > limit:
            yield row
            row, shared = _PackedRow(), 0
        row.add(ids, shared, number, num_scored)
        last = ids[:-1]
    if row.ids:
        yield row


def _batches(rows: Iterable[_PackedRow], batch_tokens: int) -> Iterator[list[_PackedRow]]:
    rows = sorted(rows, key=lambda row: row.cost, reverse=True)
    start = 0
    for end in range(1, len(rows) + 1):
        longest = len(rows[start].ids)
        is_full = (end - start + 1) * longest > batch_tokens
        if end == len(rows) or is_full or rows[end].needs_mask != rows[start].needs_mask:
            yield rows[start:end]
            start = end


@torch.no_grad()
def _score(model: LanguageModel, rows: list[_PackedRow]) -> tuple[Tensor, Tensor, Tensor]:
    """Return request, log-likelihood and whether it is the most likely of each scored token, U."""
    device = model.embedding.tokens.device
    length = max(len(row.ids) for row in rows)

    def padded(values: Iterable[list[int]], fill: int = 0) -> Tensor:
        right = [one + [fill] * (length - len(one)) for one in values]
        return torch.tensor(right, device=device)

    trees = None
    if rows[0].needs_mask:
        positions_BT = padded(row.positions for row in rows)
        trees = Trees(positions_BT, padded((row.ends for row in rows), length))
    hidden_BTD = model.hidden(padded(row.ids for row in rows), trees=trees)
    scored = [
        (number, start * length + before, target)
        for start, row in enumerate(rows)
        for number, before, target in row.scored
    ]
    request_U, before_U, target_U = (torch.tensor(x) for x in zip(*scored, strict=True))
    index_M, row_U = before_U.to(device).unique(return_inverse=True)
    nats_U, greedy_U = model.target_scores(
        hidden_BTD.flatten(0, 1)[index_M], row_U, target_U.to(device)
    )
    return request_U, nats_U.cpu(), greedy_U.cpu()
