"""Cross-entropy together with the output projection, so that logits exist for a chunk at a time.

Letters: N rows (tokens), X features of the projection's input (width, or rank when folded),
V vocabulary as stored, with its padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORE = -100
"""A target that is not scored."""


@dataclass(frozen=True, slots=True)
class LossSum:
    """A loss before averaging: divide by the number of targets of the whole step."""

    total: Tensor
    """Sum of the losses, in nats; fp32, 0-dimensional."""
    count: Tensor
    """Number of targets that were scored; int64, 0-dimensional."""


class ChunkRows(NamedTuple):
    """How many rows of logits exist at a time."""

    product: int
    """Rows of one matrix product."""
    softmax: int
    """Rows in fp32 during the softmax: on a CPU few enough to stay in its cache."""


def chunk_rows(vocab_size: int, device: torch.device) -> ChunkRows:
    """Return sizes that were fastest in measurements: 2 MB of fp32 on a CPU, 1 GiB on a GPU."""
    if device.type == "cpu":
        return ChunkRows(512, max(8, 2**19 // vocab_size))
    rows = max(256, min(8192, 2**28 // vocab_size))
    return ChunkRows(rows, rows)


def linear_cross_entropy(
    hidden_NX: Tensor, weight_VX: Tensor, targets_N: Tensor, num_tokens: int
) -> LossSum:
    """Return the summed cross-entropy of hidden W^T against the targets, without `IGNORE`.

    Rows of the weight from `num_tokens` on are padding and take no part. Equal to
    `F.cross_entropy(hidden @ weight[:num_tokens].T, targets, reduction="sum")`.
    """
    count = (targets_N != IGNORE).sum()
    if torch.is_grad_enabled():
        total = _LinearCrossEntropy.apply(hidden_NX, weight_VX, targets_N, num_tokens)
    else:
        total = token_losses(hidden_NX, weight_VX, targets_N, num_tokens).sum()
    return LossSum(total, count)


@torch.no_grad()
def token_losses(
    hidden_NX: Tensor, weight_VX: Tensor, targets_N: Tensor, num_tokens: int
) -> Tensor:
    """Return the cross-entropy of every row in nats, fp32, 0 where the target is `IGNORE`."""
    rows = chunk_rows(weight_VX.shape[0], hidden_NX.device)
    losses_N = hidden_NX.new_zeros(len(targets_N), dtype=torch.float32)
    for chunk in _slices(len(targets_N), rows.product):
        logits = hidden_NX[chunk] @ weight_VX.T
        losses_N[chunk] = _score(logits, targets_N[chunk], num_tokens, rows.softmax, False)
    return losses_N


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradients are computed in the forward pass, while a chunk's logits are at hand.

    So there are three matrix products in all and nothing is computed twice. The gradient of the
    weight is summed up in fp32, whatever the dtype of the weight.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_NX: Tensor, weight_VX: Tensor, targets_N: Tensor, num_tokens: int
    ) -> Tensor:
        needs_weight = weight_VX.requires_grad
        rows = chunk_rows(weight_VX.shape[0], hidden_NX.device)
        total = hidden_NX.new_zeros((), dtype=torch.float32)
        d_hidden_NX = torch.empty_like(hidden_NX)
        d_weight_VX = torch.zeros_like(weight_VX, dtype=torch.float32) if needs_weight else None
        scratch = hidden_NX.new_empty(min(rows.product, len(targets_N)), weight_VX.shape[0])
        for chunk in _slices(len(targets_N), rows.product):
            x, targets = hidden_NX[chunk], targets_N[chunk]
            logits = torch.mm(x, weight_VX.T, out=scratch[: len(x)])
            total += _score(logits, targets, num_tokens, rows.softmax, True).sum()
            torch.mm(logits, weight_VX, out=d_hidden_NX[chunk])
            if d_weight_VX is not None:
                _add_product(d_weight_VX, logits, x)
        d_weight = None if d_weight_VX is None else d_weight_VX.to(weight_VX.dtype)
        ctx.save_for_backward(d_hidden_NX, d_weight)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        d_hidden_NX, d_weight_VX = ctx.saved_tensors
        return d_hidden_NX * grad, None if d_weight_VX is None else d_weight_VX * grad, None, None


def _score(
    logits: Tensor, targets: Tensor, num_tokens: int, softmax_rows: int, turn_into_gradient: bool
) -> Tensor:
    """Return the loss of every row; overwrite the logits with the loss's gradient if asked."""
    losses = logits.new_empty(len(logits), dtype=torch.float32)
    scratch = logits.new_empty(min(softmax_rows, len(logits)), logits.shape[1], dtype=torch.float32)
    for part in _slices(len(logits), softmax_rows):
        target = targets[part].unsqueeze(1)
        scored, target = target != IGNORE, target.clamp(min=0)
        z = scratch[: len(target)].copy_(logits[part])
        z[:, num_tokens:] = -torch.inf
        top, at_target = z.amax(-1, keepdim=True), z.gather(1, target)
        normaliser = z.sub_(top).exp_().sum(-1, keepdim=True)
        losses[part] = ((normaliser.log() + top - at_target) * scored).squeeze(1)
        if turn_into_gradient:
            z.mul_(scored / normaliser).scatter_add_(1, target, -scored.float())
            logits[part] = z
    return losses


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left^T right, in fp32."""
    if left.dtype == total.dtype:
        total.addmm_(left.T, right)
    else:
        total.add_(left.T @ right)


def _slices(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
