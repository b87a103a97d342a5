"""The attention mask: causal, sliding-window, and within documents.

Letters: B batch, T time (queries), S keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class MaskSpec:
    """A query attends to itself and to earlier tokens, within a window and its own document."""

    window: int | None = None
    """Length of the sliding window, the query included; None: all earlier tokens."""
    documents_BT: Tensor | None = None
    """Document number of each token; None: no document mask."""

    def is_causal_only(self, length: int) -> bool:
        """Return whether the causal mask alone is enough for a sequence of `length`."""
        return self.documents_BT is None and (self.window is None or self.window >= length)

    def mask(self, queries: slice, keys: slice, device: torch.device) -> Tensor:
        """Return the boolean mask, true where a query attends to a key: tS or B1tS (documents)."""
        index_t1 = torch.arange(queries.start, queries.stop, device=device).unsqueeze(1)
        index_S = torch.arange(keys.start, keys.stop, device=device)
        mask = index_S <= index_t1
        if self.window is not None:
            mask &= index_t1 - index_S < self.window
        if self.documents_BT is None:
            return mask
        of_queries, of_keys = self.documents_BT[:, queries], self.documents_BT[:, keys]
        return (mask & (of_queries.unsqueeze(2) == of_keys.unsqueeze(1))).unsqueeze(1)


@dataclass(frozen=True, slots=True)
class Branches:
    """Continuations of one context side by side in a row: tokens attend to the context and to their
    own continuation, and have the positions that they would have without the others."""

    positions_BT: Tensor
    branch_BT: Tensor
    """Number of the continuation a token belongs to, from 1; 0: the context, which comes first."""

    def mask(self, window: int | None) -> Tensor:
        """Return the boolean mask, true where a query attends to a key, B1TT."""
        length, device = self.branch_BT.shape[1], self.branch_BT.device
        index_T = torch.arange(length, device=device)
        query_BT1, key_B1T = self.branch_BT.unsqueeze(2), self.branch_BT.unsqueeze(1)
        mask_BTT = (index_T <= index_T.unsqueeze(1)) & ((key_B1T == 0) | (key_B1T == query_BT1))
        if window is not None:
            distance_BTT = self.positions_BT.unsqueeze(2) - self.positions_BT.unsqueeze(1)
            mask_BTT &= distance_BTT < window
        return mask_BTT.unsqueeze(1)


def document_positions(documents_BT: Tensor) -> Tensor:
    """Return positions BT that restart at 0 wherever the number of the document changes."""
    index_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    starts_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    starts_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    return index_T - (index_T * starts_BT).cummax(1).values
