"""Activation checkpointing (Chen et al. 2016, arXiv 1604.06174).

A checkpointed layer keeps only its input; the backward pass recomputes its activations.

Letters: B batch, T time, D width.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from yxanul.model.blocks.block import Block
from yxanul.model.context import ForwardContext

RunBlock = Callable[[Block, Tensor, ForwardContext], Tensor]


def checkpointed(run: RunBlock) -> RunBlock:
    """Return `run` with activation checkpointing.

    No RNG state is saved: nothing in a layer is random, so recomputation is bitwise equal.
    """

    def run_checkpointed(block: Block, x_BTD: Tensor, context: ForwardContext) -> Tensor:
        return checkpoint(run, block, x_BTD, context, use_reentrant=False, preserve_rng_state=False)

    return run_checkpointed
