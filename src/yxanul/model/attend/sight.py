"""Which keys a query sees.

Letters: B batch, T time (queries), S keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sight:
    """A query sees itself and what was before it, within a window, in its own document."""

    window: int | None = None
    """Tokens that are seen, the query's own included; None: all."""
    documents_BT: Tensor | None = None
    """The number of each token's document; None: a row is one document."""

    def is_plain(self, length: int) -> bool:
        """Return whether nothing but causality matters in a sequence of `length`."""
        return self.documents_BT is None and (self.window is None or self.window >= length)

    def mask(self, queries: slice, keys: slice, device: torch.device) -> Tensor:
        """Return the mask that is true where a query sees a key: tS, or B1tS with documents."""
        index_t1 = torch.arange(queries.start, queries.stop, device=device).unsqueeze(1)
        index_S = torch.arange(keys.start, keys.stop, device=device)
        mask = index_S <= index_t1
        if self.window is not None:
            mask &= index_t1 - index_S < self.window
        if self.documents_BT is None:
            return mask
        of_queries, of_keys = self.documents_BT[:, queries], self.documents_BT[:, keys]
        return (mask & (of_queries.unsqueeze(2) == of_keys.unsqueeze(1))).unsqueeze(1)


def document_positions(documents_BT: Tensor) -> Tensor:
    """Return positions BT that restart at 0 wherever the number of the document changes."""
    index_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    starts_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    starts_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    return index_T - (index_T * starts_BT).cummax(1).values
