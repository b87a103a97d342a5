"""Keys and values of the tokens already seen, so that each new token costs one step.

Letters: B batch, T time, S slots, G key and value heads, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from yxanul.model.attend.sdpa import Masked
from yxanul.model.config import ModelSettings


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
        heads = (settings.num_kv_heads, settings.head_width)
        self._pairs = [
            torch.zeros((2, batch, self.slots[kind], *heads), dtype=dtype, device=device)
            for kind in self.kinds
        ]

    @property
    def num_bytes(self) -> int:
        """Memory held, in bytes."""
        return sum(pair.nbytes for pair in self._pairs)

    def positions(self, num_new: int) -> Tensor | slice:
        """Return where the next tokens stand: a slice, or an index BT if rows differ."""
        if self.lengths_B is None or not self.num_seen:
            return slice(self.num_seen, self.num_seen + num_new)
        return self.lengths_B.unsqueeze(1)

    def views(self, num_new: int, device: torch.device) -> dict[str, Masked]:
        """Return what tokens that follow others see, by kind of layer."""
        assert self.num_seen + num_new <= self.length, "the cache is full"
        return {kind: Masked(self._mask(kind, num_new, device)) for kind in set(self.kinds)}

    def append(self, layer: int, k_BTGK: Tensor, v_BTGK: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values; return all that the new tokens may see."""
        slots, num_new = self.slots[self.kinds[layer]], k_BTGK.shape[1]
        assert self.num_seen + num_new <= self.length, "the cache is full"
        pair, new = self._pairs[layer], (k_BTGK, v_BTGK)
        if not self.num_seen:
            self._fill(pair, new, slots)
            return new
        if self.lengths_B is not None:
            return self._append_by_row(pair, new, slots)
        start, end = self.num_seen, self.num_seen + num_new
        if num_new > 1 and end > slots:
            k_old, v_old = pair.clone()
            self._fill(pair, new, slots)
            return torch.cat([k_old, k_BTGK], 1), torch.cat([v_old, v_BTGK], 1)
        for n, x_BTGK in enumerate(new):
            pair[n, :, start % slots : start % slots + num_new] = x_BTGK
        k, v = pair[:, :, : min(end, slots)]
        return k, v

    def advance(self, num_new: int) -> None:
        """Count the tokens as seen, once all layers have stored them."""
        if self.lengths_B is not None and self.num_seen:
            self.lengths_B += num_new
        self.num_seen += num_new

    def repeat(self, batch: int) -> KvCache:
        """Return a cache of `batch` equal rows from this one of a single row."""
        copy = object.__new__(KvCache)
        copy.__dict__ = dict(self.__dict__)
        copy._pairs = [pair.repeat(1, batch, 1, 1, 1) for pair in self._pairs]
        if self.lengths_B is not None:
            copy.lengths_B = self.lengths_B.repeat(batch)
        return copy

    def _fill(self, pair: Tensor, new: tuple[Tensor, Tensor], slots: int) -> None:
        """Store tokens of which no later one may be overwritten by an earlier one."""
        num_new = new[0].shape[1]
        for n, x_BTGK in enumerate(new):
            old = pair[n]
            if self.num_seen + num_new <= slots:
                old[:, self.num_seen : self.num_seen + num_new] = x_BTGK
            elif self.lengths_B is None:
                kept = min(num_new, slots)
                stop = self.num_seen + num_new
                place = torch.arange(stop - kept, stop, device=x_BTGK.device) % slots
                old[:, place] = x_BTGK[:, -kept:]
            else:
                last_B1 = self.lengths_B.unsqueeze(1) - 1
                slot_S = torch.arange(slots, device=x_BTGK.device)
                source_BS = (last_B1 - (last_B1 - slot_S) % slots).clamp_(min=0)
                row_B1 = torch.arange(len(x_BTGK), device=x_BTGK.device).unsqueeze(1)
                old.copy_(x_BTGK[row_B1, source_BS])

    def _append_by_row(
        self, pair: Tensor, new: tuple[Tensor, Tensor], slots: int
    ) -> tuple[Tensor, Tensor]:
        assert self.lengths_B is not None and new[0].shape[1] == 1
        row_B = torch.arange(len(self.lengths_B), device=self.lengths_B.device)
        for n, x_B1GK in enumerate(new):
            pair[n, row_B, self.lengths_B % slots] = x_B1GK.squeeze(1)
        k, v = pair[:, :, : self._num_shown(slots)]
        return k, v

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
