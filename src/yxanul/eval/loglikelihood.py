"""Log-likelihood of continuations of a context.

Letters: B rows, T time, M scored tokens, U uses of them, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from yxanul.eval.requests import Request, RollingRequest, common_prefix
from yxanul.model.attention.mask import Branches
from yxanul.model.language_model import LanguageModel

BATCH_TOKENS = {"cpu": 2_048, "cuda": 32_768}
"""Tokens in a batch by type of device; on a CPU what measured fastest."""
_CHUNK_LOGITS = 1 << 23
"""Logits computed at a time: on a CPU, fresh memory for more costs more than they do."""


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
    """Requests with the same beginning, the trunk; what follows it is a branch of each, without its
    last token."""

    ids: list[int]
    branch: list[int]
    """Number of each token's branch; 0 is the trunk."""
    positions: list[int]
    scored: dict[tuple[int, int], int] = field(default_factory=dict)
    """Place of (index in the row, target) among what is scored."""
    uses: list[tuple[int, int]] = field(default_factory=list)
    """(request, place) of each token of each continuation."""

    @classmethod
    def of(cls, requests: Sequence[tuple[int, Request]], length: int) -> _Row:
        """Lay out numbered requests, of which the first `length` tokens are the same."""
        row = cls(_tokens(requests[0][1])[:length], [0] * length, list(range(length)))
        for branch, (number, request) in enumerate(requests, 1):
            ids, shift = _tokens(request), len(row.ids) - length
            row.ids += ids[length:-1]
            row.branch += [branch] * (len(ids) - 1 - length)
            row.positions += range(length, len(ids) - 1)
            for at in range(len(request.context) - 1, len(ids) - 1):
                key = (at if at < length else at + shift, ids[at + 1])
                row.uses.append((number, row.scored.setdefault(key, len(row.scored))))
        return row

    @property
    def has_branches(self) -> bool:
        return len(set(self.branch) - {0}) > 1

    @property
    def cost(self) -> tuple[bool, int]:
        return self.has_branches, len(self.ids)


def _tokens(request: Request) -> list[int]:
    return [*request.context, *request.continuation]


def log_likelihoods(
    model: LanguageModel,
    requests: Sequence[Request],
    seq_len: int,
    batch_tokens: int | None = None,
) -> Iterator[dict[int, LogLikelihood]]:
    """Yield the scores by index of the request, batch by batch, longest first.

    What consecutive requests begin with is computed once: they share a row (tree attention). Rows
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
        nats_M, greedy_M = _score(model, batch)
        starts = accumulate((len(row.scored) for row in batch[:-1]), initial=0)
        uses = [
            (number, start + at)
            for row, start in zip(batch, starts, strict=True)
            for number, at in row.uses
        ]
        request_U, scored_U = torch.tensor(uses).unbind(1)
        sums.index_add_(0, request_U, nats_M.double().cpu()[scored_U])
        hits.index_add_(0, request_U, greedy_M.long().cpu()[scored_U])
        waiting.index_add_(0, request_U, -torch.ones_like(request_U))
        done = [n for n in request_U.unique().tolist() if not waiting[n]]
        yield {n: LogLikelihood(float(sums[n]), bool(hits[n] == totals[n])) for n in done}


def _rows(pieces: Iterable[tuple[int, Request]], seq_len: int) -> Iterator[_Row]:
    """Put consecutive requests into a row of at most `seq_len` tokens while that saves some."""
    row: list[tuple[int, Request]] = []
    trunk: list[int] = []
    num_tokens = 0
    for number, request in pieces:
        ids = _tokens(request)[:-1]
        shared = common_prefix(trunk, ids) if row else 0
        saved = len(row) * shared - (len(row) - 1) * len(trunk)
        if row and 8 * saved >= len(ids) and num_tokens + len(ids) - saved <= seq_len:
            trunk, num_tokens = trunk[:shared], num_tokens + len(ids) - saved
        else:
            if row:
                yield _Row.of(row, len(trunk))
            row, trunk, num_tokens = [], ids, len(ids)
        row.append((number, request))
    if row:
        yield _Row.of(row, len(trunk))


def _batches(rows: Iterable[_Row], batch_tokens: int) -> Iterator[list[_Row]]:
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
    scored = [number * length + at for number, row in enumerate(rows) for at, _ in row.scored]
    hidden_MD = hidden_BTD.flatten(0, 1)[torch.tensor(scored, device=device)]
    target_M = torch.tensor([target for row in rows for _, target in row.scored], device=device)
    chunk = max(1, _CHUNK_LOGITS // model.settings.num_tokens)
    nats, greedy = [], []
    for hidden, target in zip(hidden_MD.split(chunk), target_M.split(chunk), strict=True):
        logits = model.logits(hidden)
        of_target = logits.gather(1, target.unsqueeze(1)).squeeze(1)
        largest, most_likely = logits.max(1)
        total = logits.sub_(largest.unsqueeze(1)).exp_().sum(1)
        nats.append(of_target - largest - total.log())
        greedy.append(most_likely == target)
    return torch.cat(nats), torch.cat(greedy)
