"""Fused output projection and cross-entropy: logits exist for one chunk of tokens at a time.

Letters: N rows (tokens), X input features of the projection (width, or rank when folded),
V vocabulary as stored, padding included, U targets, of which a row may have several, K tiles.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

IGNORE = -100
"""ignore_index of the targets (as in PyTorch)."""
TILE_LOGITS = {"cpu": 1 << 18, "cuda": 1 << 28}
"""Logits of a tile by type of device: on a CPU, few enough to stay in cache."""


@dataclass(frozen=True, slots=True)
class LossSum:
    """Summed loss and the number of targets to divide it by."""

    total: Tensor
    """Training loss: cross-entropy plus z-loss; fp32, 0-dimensional.
    Under no_grad, the cross-entropy alone."""
    cross_entropy: Tensor
    """Summed cross-entropy in nats; fp32, 0-dimensional, without gradient."""
    count: Tensor
    """Number of targets that are not ignored; int64, 0-dimensional."""


class LossConfig(NamedTuple):
    """Settings of the loss."""

    vocab_size: int
    """Vocabulary size; further rows of the weight are padding and are left out."""
    soft_cap: float | None = None
    """Soft-capping: logits become cap * tanh(logits / cap) (arXiv 2408.00118)."""
    z_loss: float = 0.0
    """Coefficient of the z-loss, log(sum(exp(logits)))^2 (arXiv 2204.02311)."""
    compiled: bool = False
    """Fuse the softmax and its gradient with torch.compile."""


class ChunkRows(NamedTuple):
    """Rows of logits that exist at a time."""

    product: int
    """Rows per matrix product."""
    softmax: int
    """Rows in fp32 during the softmax: on a CPU, few enough to stay in cache."""


def chunk_rows(vocab_size: int, device: torch.device, dtype: torch.dtype) -> ChunkRows:
    """Return the chunk sizes that measured fastest.

    On a CPU at most 256 MiB per product and 2 MiB of fp32 per softmax; on a GPU 1 GiB for both.
    """
    if device.type == "cpu":
        product = max(256, min(2048, 2**28 // (dtype.itemsize * vocab_size)))
        return ChunkRows(product, max(8, 2**19 // vocab_size))
    rows = max(256, min(8192, 2**28 // vocab_size))
    return ChunkRows(rows, rows)


def linear_cross_entropy(
    hidden_NX: Tensor, weight_VX: Tensor, targets_N: Tensor, loss_config: LossConfig
) -> LossSum:
    """Return the summed cross-entropy of hidden W^T against the targets that are not `IGNORE`.

    Equal to `F.cross_entropy(hidden @ weight[:vocab_size].T, targets, reduction="sum")`.
    """
    count = (targets_N != IGNORE).sum()
    if torch.is_grad_enabled():
        total, cross_entropy = _LinearCrossEntropy.apply(
            hidden_NX, weight_VX, targets_N, loss_config
        )
    else:
        total = cross_entropy = token_scores(hidden_NX, weight_VX, targets_N, loss_config)[0].sum()
    return LossSum(total, cross_entropy, count)


@torch.no_grad()
def token_scores(
    hidden_NX: Tensor, weight_VX: Tensor, targets_N: Tensor, loss_config: LossConfig
) -> Tensor:
    """Return the cross-entropy per row in nats, and 1 where no token is more probable than the
    target: 2N, fp32, 0 where the target is `IGNORE`."""
    rows = chunk_rows(weight_VX.shape[0], hidden_NX.device, hidden_NX.dtype)
    scores_2N = hidden_NX.new_zeros(2, len(targets_N), dtype=torch.float32)
    for chunk in _slices(len(targets_N), rows.product):
        logits = hidden_NX[chunk] @ weight_VX.T
        scores_2N[:, chunk] = _losses_in_place(
            logits, targets_N[chunk], loss_config, rows.softmax, False
        )
    return scores_2N


@torch.no_grad()
def target_scores(
    hidden_NX: Tensor, weight_VX: Tensor, row_U: Tensor, target_U: Tensor, loss_config: LossConfig
) -> tuple[Tensor, Tensor]:
    """Return log softmax(hidden W^T)[row, target], U in fp32, and whether it is its row's largest.

    Logits exist for one tile of the vocabulary at a time; 64 divides its width, as other products
    are slower.
    """
    width = 64 * max(1, TILE_LOGITS[hidden_NX.device.type] // (64 * len(hidden_NX)))
    starts = range(0, loss_config.vocab_size, width)
    tile_U = target_U // width
    order_U = tile_U.argsort()
    counts = torch.bincount(tile_U, minlength=len(starts)).tolist()
    tops, sums, at_target, is_top = [], [], [], []
    for start, uses in zip(starts, order_U.split(counts), strict=True):
        tile = hidden_NX @ weight_VX[start : min(start + width, loss_config.vocab_size)].T
        tile = capped(tile.float(), loss_config.soft_cap)
        tops.append(tile.amax(1))
        rows, targets = row_U[uses], target_U[uses] - start
        at_target.append(tile[rows, targets])
        largest = at_target[-1] == tops[-1][rows]
        first = tile[rows[largest]].argmax(1) == targets[largest]  # of several equal ones
        is_top.append(largest.masked_scatter(largest, first))
        sums.append(tile.sub_(tops[-1].unsqueeze(1)).exp_().sum(1))
    tops_KN = torch.stack(tops)
    log_sum_N = (tops_KN + torch.stack(sums).log()).logsumexp(0)
    back_U = order_U.argsort()
    at_target_U, is_top_U = (torch.cat(x)[back_U] for x in (at_target, is_top))
    return at_target_U - log_sum_N[row_U], is_top_U & (tops_KN.argmax(0)[row_U] == tile_U)


def capped(logits: Tensor, soft_cap: float | None) -> Tensor:
    """Return the logits, soft-capped if there is a cap."""
    return logits if soft_cap is None else soft_cap * torch.tanh(logits / soft_cap)


def rows_with_gradient(
    logits: Tensor, targets: Tensor, loss_config: LossConfig
) -> tuple[Tensor, Tensor]:
    """Return cross-entropy and z-loss per row, 2N, and the gradient of their sum.

    This is the reference; on a GPU torch.compile fuses it into one kernel.
    """
    target = targets.unsqueeze(1)
    scored, target = (target != IGNORE).float(), target.clamp(min=0)
    capped_logits = capped(logits.float(), loss_config.soft_cap)
    column = torch.arange(logits.shape[1], device=logits.device)
    z = capped_logits.masked_fill(column >= loss_config.vocab_size, -torch.inf)
    log_sum = z.logsumexp(-1, keepdim=True)
    cross_entropy = (log_sum - z.gather(1, target)) * scored
    z_loss = loss_config.z_loss * log_sum.square() * scored
    d_log_sum = scored * (1 + 2 * loss_config.z_loss * log_sum)
    gradient = (z - log_sum).exp() * d_log_sum - torch.where(column == target, scored, 0.0)
    if loss_config.soft_cap is not None:
        gradient = gradient * (1 - (capped_logits / loss_config.soft_cap).square())
    return torch.cat([cross_entropy, z_loss], 1).T, gradient.to(logits.dtype)


class _LinearCrossEntropy(torch.autograd.Function):
    """Computes the gradients in the forward pass, while a chunk's logits are in memory.

    That takes three matrix products and recomputes nothing. The weight's gradient is accumulated
    in fp32, whatever the weight's dtype.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_NX: Tensor, weight_VX: Tensor, targets_N: Tensor, loss_config: LossConfig
    ) -> tuple[Tensor, Tensor]:
        needs_weight = weight_VX.requires_grad
        rows = chunk_rows(weight_VX.shape[0], hidden_NX.device, hidden_NX.dtype)
        sums = hidden_NX.new_zeros(2, dtype=torch.float32)
        d_hidden_NX = torch.empty_like(hidden_NX)
        d_weight_VX = torch.zeros_like(weight_VX, dtype=torch.float32) if needs_weight else None
        chunks = _slices(len(targets_N), rows.product)
        scratch = hidden_NX.new_empty(chunks[0].stop if chunks else 0, weight_VX.shape[0])
        for chunk in chunks:
            x, targets = hidden_NX[chunk], targets_N[chunk]
            logits = torch.mm(x, weight_VX.T, out=scratch[: len(x)])
            if loss_config.compiled:
                losses, gradient = _compiled_rows()(logits, targets, loss_config)
                logits.copy_(gradient)
            else:
                losses = _losses_in_place(logits, targets, loss_config, rows.softmax, True)
            sums += losses.sum(1)
            torch.mm(logits, weight_VX, out=d_hidden_NX[chunk])
            if d_weight_VX is not None:
                _add_product(d_weight_VX, logits, x)
        if d_weight_VX is not None and weight_VX.dtype != torch.float16:
            # An unscaled sum over many tokens may overflow fp16.
            d_weight_VX = d_weight_VX.to(weight_VX.dtype)
        ctx.save_for_backward(d_hidden_NX, d_weight_VX)
        total, cross_entropy = sums.sum(), sums[0]
        ctx.mark_non_differentiable(cross_entropy)
        return total, cross_entropy

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, grad: Tensor, _: Tensor
    ) -> tuple[Tensor, Tensor | None, None, None]:
        d_hidden_NX, d_weight_VX = ctx.saved_tensors
        if d_weight_VX is not None:
            d_weight_VX = (d_weight_VX * grad).to(d_hidden_NX.dtype)
        return d_hidden_NX * grad, d_weight_VX, None, None


def _losses_in_place(
    logits: Tensor, targets: Tensor, loss_config: LossConfig, softmax_rows: int, with_gradient: bool
) -> Tensor:
    """Return the losses of `rows_with_gradient`, faster on a CPU: in chunks that stay in cache.

    Overwrites the logits: with the gradient if `with_gradient`, else with intermediate values, and
    the second row has `token_scores` instead of the z-loss.
    """
    losses = logits.new_zeros(2, len(logits), dtype=torch.float32)
    casts, parts = logits.dtype != torch.float32, _slices(len(logits), softmax_rows)
    scratch = torch.empty_like(logits[parts[0]], dtype=torch.float32) if casts else logits
    for part in parts:
        target = targets[part].unsqueeze(1)
        scored, target = target != IGNORE, target.clamp(min=0)
        z = scratch[: len(target)].copy_(logits[part]) if casts else logits[part]
        cap, slope = loss_config.soft_cap, None
        if cap is not None:
            z.div_(cap).tanh_()
            slope = 1 - z.square() if with_gradient else None
            z.mul_(cap)
        z[:, loss_config.vocab_size :] = -torch.inf
        top, at_target = z.amax(-1, keepdim=True), z.gather(1, target)
        normaliser = z.sub_(top).exp_().sum(-1, keepdim=True)
        log_sum = normaliser.log() + top
        losses[0, part] = ((log_sum - at_target) * scored).squeeze(1)
        if not with_gradient:
            losses[1, part] = ((at_target == top) * scored).squeeze(1).float()
        elif loss_config.z_loss:
            losses[1, part] = (loss_config.z_loss * log_sum.square() * scored).squeeze(1)
        if with_gradient:
            d_log_sum = scored * (1 + 2 * loss_config.z_loss * log_sum) / normaliser
            z.mul_(d_log_sum).scatter_add_(1, target, -scored.float())
            if slope is not None:
                z.mul_(slope)
            if casts:
                logits[part] = z
    return losses


@functools.cache
def _compiled_rows() -> Callable[[Tensor, Tensor, LossConfig], tuple[Tensor, Tensor]]:
    return torch.compile(rows_with_gradient)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left^T right to total, in fp32."""
    if left.dtype == total.dtype:
        total.addmm_(left.T, right)
    else:
        total.add_(left.T @ right)


def _slices(length: int, max_size: int) -> list[slice]:
    """Return slices of nearly equal size, none above `max_size`."""
    size = -(-length // max(1, -(-length // max_size)))
    return [slice(start, min(start + size, length)) for start in range(0, length, max(1, size))]
