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
class Trees:
    """Rows of trees of tokens, depth first: texts that share their beginnings. A token attends to
    itself and its ancestors, and has the position that it would have in its text alone."""

    positions_BT: Tensor
    """Depth of each token in its tree."""
    ends_BT: Tensor
    """Index after the last descendant of each token."""

    def mask(self, window: int | None) -> Tensor:
        """Return the boolean mask, true where a query attends to a key, B1TT."""
        index_T = torch.arange(self.ends_BT.shape[1], device=self.ends_BT.device)
        index_T1 = index_T.unsqueeze(1)
        mask_BTT = (index_T <= index_T1) & (index_T1 < self.ends_BT.unsqueeze(1))
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
