"""Keys and values of the tokens already seen, so that each new token costs one step.

Letters: L layer, B batch, T time, G key and value heads, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from yxanul.model.config import ModelSettings


class KvCache:
    """Room for `length` tokens in each of `batch` rows, allocated once."""

    def __init__(
        self,
        settings: ModelSettings,
        batch: int,
        length: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        shape = (settings.depth, batch, length, settings.num_kv_heads, settings.head_width)
        self.k_LBTGK = torch.zeros(shape, dtype=dtype, device=device)
        self.v_LBTGK = torch.zeros(shape, dtype=dtype, device=device)
        self.num_seen = 0

    @property
    def length(self) -> int:
        """Tokens there is room for."""
        return self.k_LBTGK.shape[2]

    @property
    def num_bytes(self) -> int:
        """Memory held, in bytes."""
        return 2 * self.k_LBTGK.numel() * self.k_LBTGK.element_size()

    def append(self, layer: int, k_BTGK: Tensor, v_BTGK: Tensor) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values; return all of that layer, old and new."""
        end = self.num_seen + k_BTGK.shape[1]
        assert end <= self.length, "the cache is full"
        self.k_LBTGK[layer, :, self.num_seen : end] = k_BTGK
        self.v_LBTGK[layer, :, self.num_seen : end] = v_BTGK
        return self.k_LBTGK[layer, :, :end], self.v_LBTGK[layer, :, :end]

    def advance(self, num_new: int) -> None:
        """Count the tokens as seen, once all layers have stored them."""
        self.num_seen += num_new

    def repeat(self, batch: int) -> KvCache:
        """Return a cache of `batch` equal rows from this one of a single row."""
        copy = object.__new__(KvCache)
        copy.k_LBTGK = self.k_LBTGK.repeat(1, batch, 1, 1, 1)
        copy.v_LBTGK = self.v_LBTGK.repeat(1, batch, 1, 1, 1)
        copy.num_seen = self.num_seen
        return copy
