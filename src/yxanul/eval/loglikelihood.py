"""Log-likelihood of continuations of a context.

Letters: B rows, T time, M scored tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from yxanul.eval.requests import Request, RollingRequest
from yxanul.model.attention.mask import Branches
from yxanul.model.language_model import LanguageModel

BATCH_TOKENS = {"cpu": 2_048, "cuda": 32_768}
"""Tokens in a batch by type of device; on a CPU what measured fastest."""
_CHUNK_LOGITS = 1 << 25


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
class _Row:
    """A context and continuations of it, side by side, each without its last token."""

    ids: list[int]
    num_context: int
    branch: list[int]
    positions: list[int]
    requests: list[int] = field(default_factory=list)
    """Request of each scored token."""
    scored: list[int] = field(default_factory=list)
    """Index in the row of the token that predicts it."""
    targets: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, context: Sequence[int]) -> _Row:
        length = len(context)
        return cls(list(context), length, [0] * length, list(range(length)))

    def add(self, request: int, continuation: Sequence[int]) -> None:
        start, length = len(self.ids), len(continuation) - 1
        self.ids += continuation[:-1]
        self.branch += [self.branch[-1] + 1] * length
        self.positions += range(self.num_context, self.num_context + length)
        self.requests += [request] * len(continuation)
        self.scored += [self.num_context - 1, *range(start, start + length)]
        self.targets += continuation

    @property
    def has_branches(self) -> bool:
        return self.branch[-1] > 1

    @property
    def cost(self) -> tuple[bool, int]:
        return self.has_branches, len(self.ids)


def log_likelihoods(
    model: LanguageModel,
    requests: Sequence[Request],
    seq_len: int,
    batch_tokens: int | None = None,
) -> Iterator[dict[int, LogLikelihood]]:
    """Yield the scores by index of the request, batch by batch, longest first.

    A context is computed once for all its continuations: they share a row (tree attention). Rows
    are right-padded to batches of at most `batch_tokens` tokens, if there are several in a batch.
    Models are in fp32; a score depends on the other requests by rounding only.
    """
    batch_tokens = batch_tokens or BATCH_TOKENS[model.embedding.tokens.device.type]
    pieces = [(n, piece) for n, one in enumerate(requests) for piece in crop(one, seq_len)]
    waiting = torch.zeros(len(requests), dtype=torch.int64)
    for number, piece in pieces:
        waiting[number] += len(piece.continuation)
    sums = torch.zeros(len(requests), dtype=torch.float64)
    hits = torch.zeros(len(requests), dtype=torch.int64)
    totals = waiting.clone()
    for batch in _batches(_rows(pieces, seq_len), batch_tokens):
        request_M = torch.tensor([n for row in batch for n in row.requests])
        nats_M, greedy_M = _score(model, batch)
        sums.index_add_(0, request_M, nats_M.double().cpu())
        hits.index_add_(0, request_M, greedy_M.long().cpu())
        waiting.index_add_(0, request_M, -torch.ones_like(request_M))
        done = [n for n in request_M.unique().tolist() if not waiting[n]]
        yield {n: LogLikelihood(float(sums[n]), bool(hits[n] == totals[n])) for n in done}


def _rows(pieces: Iterable[tuple[int, Request]], seq_len: int) -> list[_Row]:
    """Put the continuations of each context into rows of at most `seq_len` tokens."""
    rows: list[_Row] = []
    latest: dict[tuple[int, ...], _Row] = {}
    for number, (context, continuation) in pieces:
        row = latest.get(key := tuple(context))
        if row is None or len(row.ids) + len(continuation) - 1 > seq_len:
            latest[key] = row = _Row.of(context)
            rows.append(row)
        row.add(number, continuation)
    return rows


def _batches(rows: list[_Row], batch_tokens: int) -> Iterator[list[_Row]]:
    rows = sorted(rows, key=lambda row: row.cost, reverse=True)
    start = 0
    for end in range(1, len(rows) + 1):
        longest = len(rows[start].ids)
        is_full = (end - start + 1) * longest > batch_tokens
        if end == len(rows) or is_full or rows[end].has_branches != rows[start].has_branches:
            yield rows[start:end]
            start = end


@torch.no_grad()
def _score(model: LanguageModel, rows: list[_Row]) -> tuple[Tensor, Tensor]:
    """Return the log-likelihood of each scored token, and whether it is the most likely one, M."""
    device = model.embedding.tokens.device
    length = max(len(row.ids) for row in rows)

    def padded(values: Iterable[list[int]]) -> Tensor:
        right = [one + [0] * (length - len(one)) for one in values]
        return torch.tensor(right, device=device)

    branches = None
    if rows[0].has_branches:
        positions_BT = padded(row.positions for row in rows)
        branches = Branches(positions_BT, padded(row.branch for row in rows))
    hidden_BTD = model.hidden(padded(row.ids for row in rows), branches=branches)
    scored = [number * length + at for number, row in enumerate(rows) for at in row.scored]
    hidden_MD = hidden_BTD.flatten(0, 1)[torch.tensor(scored, device=device)]
    target_M = torch.tensor([i for row in rows for i in row.targets], device=device)
    chunk = max(1, _CHUNK_LOGITS // model.settings.num_tokens)
    nats, greedy = [], []
    for hidden, target in zip(hidden_MD.split(chunk), target_M.split(chunk), strict=True):
        logits = model.logits(hidden)
        nats.append(logits.gather(1, target.unsqueeze(1)).squeeze(1) - logits.logsumexp(1))
        greedy.append(logits.argmax(1) == target)
    return torch.cat(nats), torch.cat(greedy)
