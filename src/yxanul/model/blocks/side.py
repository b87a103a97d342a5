"""What travels beside the residual stream through every block.

Letters: B batch, T time (queries), S keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from yxanul.model.blocks.rope import Rope
from yxanul.model.cache import KvCache


@dataclass(frozen=True, slots=True)
class Side:
    """The side inputs of one forward pass.

    A query sees the keys where `mask` (bool, broadcasts to batch x heads x queries x keys) is
    true. Without a mask it sees all keys up to its own if `is_causal`, else every key.
    """

    rope: Rope | None = None
    mask: Tensor | None = None
    is_causal: bool = True
    cache: KvCache | None = None


def document_positions(documents_BT: Tensor) -> Tensor:
    """Return positions BT that restart at 0 wherever the number of the document changes."""
    index_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    starts_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    starts_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    return index_T - (index_T * starts_BT).cummax(1).values


def document_mask(documents_BT: Tensor) -> Tensor:
    """Return the mask B1TS that is true for a key of the same document, not after the query."""
    same_BTS = documents_BT.unsqueeze(2) == documents_BT.unsqueeze(1)
    return same_BTS.tril_().unsqueeze(1)


def later_mask(num_seen: int, num_new: int, device: torch.device) -> Tensor | None:
    """Return the mask TS for tokens that follow others in a cache; None for a single one."""
    if num_new == 1:
        return None
    mask_TS = torch.ones(num_new, num_seen + num_new, dtype=torch.bool, device=device)
    return mask_TS.tril_(num_seen)
