"""Compiled layers: one graph serves all of them, so that compiling takes seconds, not minutes.

Only training passes are compiled. Evaluation and generation meet too many shapes.

Letters: B batch, T time, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from yxanul.model.blocks.block import Block
from yxanul.model.blocks.side import Side

GRAPHS = 64
"""Shapes, kinds of layer and modes that are compiled before it falls back to op by op."""

RunBlock = Callable[[Block, Tensor, Side], Tensor]


def run_block(block: Block, x_BTD: Tensor, side: Side) -> Tensor:
    """Return the residual stream after the layer, BTD."""
    return block(x_BTD, side)


@functools.cache
def compiled_run_block() -> RunBlock:
    """Return `run_block` compiled: parameters are inputs of its graph, so all layers share it."""
    torch._dynamo.config.recompile_limit = max(GRAPHS, torch._dynamo.config.recompile_limit)
    return torch.compile(run_block, dynamic=False)
