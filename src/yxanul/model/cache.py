"""KV cache.

Letters: B batch, T time, S slots, N key heads followed by as many value heads, K head width.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor

from yxanul.model.attention.sdpa import MaskedAttention
from yxanul.model.config import ModelSettings


class CacheSlot(NamedTuple):
    """Slot of a token, and the slots it attends to, for one kind of layer."""

    slot: int
    num_visible: int
    """The token attends to the first `num_visible` slots, its own included."""


class KvCache:
    """Preallocated keys and values of up to `length` tokens in each of `batch` rows.

    Global layers keep every token. Local layers keep only their window, in a ring buffer: position
    p is stored in slot p modulo the number of slots.

    For rows of different lengths, set `lengths_B` before prefilling the right-padded prompts; after
    that, each pass takes one token per row.
    """

    def __init__(
        self,
        settings: ModelSettings,
        batch: int,
        length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        self.kinds = settings.layer_kinds
        self.length = length
        """Capacity in tokens."""
        self.slots = {"G": length, "L": min(settings.window or length, length)}
        self.num_seen = 0
        """Number of cached tokens in the longest row."""
        self.lengths_B: Tensor | None = None
        """Number of tokens per row, if rows differ."""
        self.is_static = False
        heads = (2 * settings.num_kv_heads, settings.head_width)
        self._layers = [
            torch.zeros((batch, self.slots[kind], *heads), dtype=dtype, device=device)
            for kind in self.kinds
        ]

    @property
    def batch(self) -> int:
        """Number of rows."""
        return len(self._layers[0])

    def positions(self, num_new: int) -> Tensor | slice:
        """Return the positions of the next tokens: a slice, or an index BT if rows differ."""
        if self.lengths_B is None or not self.num_seen:
            return slice(self.num_seen, self.num_seen + num_new)
        return self.lengths_B.unsqueeze(1)

    def attention(self, num_new: int, device: torch.device) -> dict[str, MaskedAttention]:
        """Return the attention of new tokens over the cache, by kind of layer."""
        assert self.num_seen + num_new <= self.length, "the cache is full"
        return {
            kind: MaskedAttention(self._mask(kind, num_new, device)) for kind in set(self.kinds)
        }

    def next_slot(self, kind: str) -> CacheSlot | None:
        """Return the slot of the next token in all rows; None if rows differ."""
        if self.lengths_B is not None:
            return None
        slots = self.slots[kind]
        return CacheSlot(self.num_seen % slots, self._num_visible(slots))

    def layer_buffer(self, layer: int) -> Tensor:
        """Return all slots of a layer, BSNK, to be indexed by `next_slot`."""
        return self._layers[layer]

    def append(self, layer: int, kv_BTNK: Tensor) -> Tensor:
        """Store a layer's new keys and values; return those the new tokens may attend to, BSNK."""
        slots, num_new = self.slots[self.kinds[layer]], kv_BTNK.shape[1]
        one_by_one = self.lengths_B is not None and self.num_seen > 0
        assert num_new == 1 or not one_by_one, "rows of different lengths take one token at a time"
        end, stored = self.num_seen + num_new, self._layers[layer]
        assert end <= self.length, "the cache is full"
        if num_new == 1 and self.num_seen:
            return self._append_one(layer, kv_BTNK)
        if end <= slots:
            stored[:, self.num_seen : end] = kv_BTNK
            return stored[:, :end] if self.num_seen else kv_BTNK
        seen = torch.cat([stored, kv_BTNK], 1) if self.num_seen else kv_BTNK
        self._fill_ring(stored, kv_BTNK, slots)
        return seen

    def advance(self, num_new: int) -> None:
        """Advance by `num_new` tokens, once all layers have stored them."""
        if self.lengths_B is not None and self.num_seen:
            self.lengths_B += num_new
        self.num_seen += num_new

    def repeat(self, batch: int) -> KvCache:
        """Return a copy of this single-row cache, expanded to `batch` rows."""
        repeated = copy(self)
        repeated._layers = [kv_BSNK.repeat(batch, 1, 1, 1) for kv_BSNK in self._layers]
        if self.lengths_B is not None:
            repeated.lengths_B = self.lengths_B.repeat(batch)
        return repeated

    def make_static(self) -> None:
        """Attend to every slot, with a mask, so that each step has the same shapes."""
        self.is_static = True
        if self.lengths_B is None:
            device = self._layers[0].device
            self.lengths_B = torch.full((self.batch,), self.num_seen, device=device)

    def _append_one(self, layer: int, kv_B1NK: Tensor) -> Tensor:
        stored_BSNK, kind = self._layers[layer], self.kinds[layer]
        slot = self.next_slot(kind)
        if slot is not None:
            stored_BSNK.narrow(1, slot.slot, 1).copy_(kv_B1NK)
            return stored_BSNK.narrow(1, 0, slot.num_visible)
        assert self.lengths_B is not None
        row_B = torch.arange(len(kv_B1NK), device=kv_B1NK.device)
        stored_BSNK[row_B, self.lengths_B % self.slots[kind]] = kv_B1NK[:, 0]
        return stored_BSNK.narrow(1, 0, self._num_visible(self.slots[kind]))

    def _fill_ring(self, stored_BSNK: Tensor, kv_BTNK: Tensor, slots: int) -> None:
        """Store the last tokens when there are more than free slots."""
        batch, num_new = kv_BTNK.shape[:2]
        device = kv_BTNK.device
        if self.lengths_B is None:
            kept = min(num_new, slots)
            end = self.num_seen + num_new
            slot_T = torch.arange(end - kept, end, device=device) % slots
            stored_BSNK[:, slot_T] = kv_BTNK[:, -kept:]
            return
        last_B1 = self.lengths_B.unsqueeze(1) - 1
        slot_S = torch.arange(slots, device=device)
        source_BS = (last_B1 - (last_B1 - slot_S) % slots).clamp_(min=0)
        stored_BSNK.copy_(kv_BTNK[torch.arange(batch, device=device).unsqueeze(1), source_BS])

    def _num_visible(self, slots: int) -> int:
        return slots if self.is_static else min(self.num_seen + 1, slots)

    def _mask(self, kind: str, num_new: int, device: torch.device) -> Tensor | None:
        """Return the attention mask over the keys returned by `append`; None: all visible."""
        slots, start = self.slots[kind], self.num_seen
        if self.lengths_B is not None:
            slot_S = torch.arange(self._num_visible(slots), device=device)
            return (slot_S <= self.lengths_B.unsqueeze(1))[:, None, None]
        if num_new == 1:
            return None
        new_T = torch.arange(start, start + num_new, device=device)
        if start + num_new <= slots:
            return torch.arange(start + num_new, device=device) <= new_T.unsqueeze(1)
        slot_S = torch.arange(slots, device=device)
        old_S = start - 1 - (start - 1 - slot_S) % slots
        key_S, query_T1 = torch.cat([old_S, new_T]), new_T.unsqueeze(1)
        seen_TS = (key_S >= 0) & (key_S <= query_T1)
        return seen_TS & (query_T1 - key_S < slots)
