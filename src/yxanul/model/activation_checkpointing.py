"""Activation checkpointing (Chen et al. 2016, arXiv 1604.06174).

A checkpointed layer keeps only its input between the forward and the backward pass, which runs
the layer again.

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

    The second run gives the same bits: nothing in a layer is random, so no RNG state is kept.
    """

    def run_twice(block: Block, x_BTD: Tensor, context: ForwardContext) -> Tensor:
        return checkpoint(run, block, x_BTD, context, use_reentrant=False, preserve_rng_state=False)

    return run_twice
