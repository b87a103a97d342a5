"""Keys and values of the tokens already seen, so that each new token costs one step.

Letters: B batch, T time, S slots, N key heads and then as many value heads, K head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from yxanul.model.attention.sdpa import MaskedAttention
from yxanul.model.config import ModelSettings


class CacheSlot(NamedTuple):
    """Where a token goes in a layer of some kind."""

    slot: int
    num_shown: int
    """The slots from the first on that it sees, its own included."""


class KvCache:
    """Room for `length` tokens in each of `batch` rows, allocated once.

    Global layers keep every token. Local layers keep their window only, in a ring: the token at
    position p lies in slot p modulo the number of slots.

    Rows may have different lengths: say so by `lengths_B` before the pass over prompts that are
    padded on their right; after it, one token a row and pass.
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
        """Tokens there is room for."""
        self.slots = {"G": length, "L": min(settings.window or length, length)}
        self.num_seen = 0
        """Tokens of the longest row."""
        self.lengths_B: Tensor | None = None
        """The tokens of each row, if they differ."""
        self.is_static = False
        """Attend to every slot behind a mask, so that each step has the same shapes."""
        heads = (2 * settings.num_kv_heads, settings.head_width)
        self._layers = [
            torch.zeros((batch, self.slots[kind], *heads), dtype=dtype, device=device)
            for kind in self.kinds
        ]

    @property
    def batch(self) -> int:
        """Number of rows."""
        return len(self._layers[0])

    @property
    def num_bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(kv_BSNK.nbytes for kv_BSNK in self._layers)

    def positions(self, num_new: int) -> Tensor | slice:
        """Return where the next tokens stand: a slice, or an index BT if rows differ."""
        if self.lengths_B is None or not self.num_seen:
            return slice(self.num_seen, self.num_seen + num_new)
        return self.lengths_B.unsqueeze(1)

    def attention(self, num_new: int, device: torch.device) -> dict[str, MaskedAttention]:
        """Return what tokens that follow others see, by kind of layer."""
        assert self.num_seen + num_new <= self.length, "the cache is full"
        return {
            kind: MaskedAttention(self._mask(kind, num_new, device)) for kind in set(self.kinds)
        }

    def place(self, kind: str) -> CacheSlot | None:
        """Return where the next token goes, the same in all rows; None where rows differ."""
        if self.lengths_B is not None:
            return None
        slots = self.slots[kind]
        return CacheSlot(self.num_seen % slots, self._num_shown(slots))

    def stored(self, layer: int) -> Tensor:
        """Return all slots of a layer, BSNK, to write into and read from by `place`."""
        return self._layers[layer]

    def append(self, layer: int, kv_BTNK: Tensor) -> Tensor:
        """Store a layer's new keys and values; return all that the new tokens may see, BSNK."""
        slots, num_new = self.slots[self.kinds[layer]], kv_BTNK.shape[1]
        one_by_one = self.lengths_B is not None and self.num_seen > 0
        assert num_new == 1 or not one_by_one, "rows of different lengths take one at a time"
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
        """Count the tokens as seen, once all layers have stored them."""
        if self.lengths_B is not None and self.num_seen:
            self.lengths_B += num_new
        self.num_seen += num_new

    def repeat(self, batch: int) -> KvCache:
        """Return a cache of `batch` equal rows from this one of a single row."""
        copy = object.__new__(KvCache)
        copy.__dict__ = dict(self.__dict__)
        copy._layers = [kv_BSNK.repeat(batch, 1, 1, 1) for kv_BSNK in self._layers]
        if self.lengths_B is not None:
            copy.lengths_B = self.lengths_B.repeat(batch)
        return copy

    def _append_one(self, layer: int, kv_B1NK: Tensor) -> Tensor:
        stored_BSNK, kind = self._layers[layer], self.kinds[layer]
        place = self.place(kind)
        if place is not None:
            stored_BSNK.narrow(1, place.slot, 1).copy_(kv_B1NK)
            return stored_BSNK.narrow(1, 0, place.num_shown)
        assert self.lengths_B is not None
        row_B = torch.arange(len(kv_B1NK), device=kv_B1NK.device)
        stored_BSNK[row_B, self.lengths_B % self.slots[kind]] = kv_B1NK[:, 0]
        return stored_BSNK.narrow(1, 0, self._num_shown(self.slots[kind]))

    def _fill_ring(self, stored_BSNK: Tensor, kv_BTNK: Tensor, slots: int) -> None:
        """Store the last of more tokens than there are free slots."""
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

    def _num_shown(self, slots: int) -> int:
        return slots if self.is_static else min(self.num_seen + 1, slots)

    def _mask(self, kind: str, num_new: int, device: torch.device) -> Tensor | None:
        """Return which of the keys that `append` returns each new token sees; None: all."""
        slots, start = self.slots[kind], self.num_seen
        if self.lengths_B is not None:
            slot_S = torch.arange(self._num_shown(slots), device=device)
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
