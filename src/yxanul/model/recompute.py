"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): layers that are computed twice.

A layer that is recomputed keeps only its input from the forward to the backward pass.

Letters: B batch, T time, D width.
"""

from __future__ import annotations

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from yxanul.model.blocks.block import Block
from yxanul.model.blocks.side import Side
from yxanul.model.compiled import RunBlock


def recomputed(run: RunBlock) -> RunBlock:
    """Return what runs a layer as `run` does, and once more when its gradients are asked for.

    The second run gives the same bits: nothing in a layer is random, so no random state is kept.
    """

    def run_twice(block: Block, x_BTD: Tensor, side: Side) -> Tensor:
        return checkpoint(run, block, x_BTD, side, use_reentrant=False, preserve_rng_state=False)

    return run_twice
