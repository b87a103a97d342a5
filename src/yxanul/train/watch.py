"""What alerts need to know of batches and of the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from yxanul.data.batches import Batch, BatchLoader
from yxanul.data.mix import Row
from yxanul.monitor.batches import BatchWatch
from yxanul.train.engine import Engine

LEAK_TOKENS = 256
"""Length of the row by which a look at later tokens is found."""


class WatchedLoader(BatchLoader):
    """A loader whose rows are noted, each once a step, also if a step is repeated."""

    def __init__(self, loader: BatchLoader, watch: BatchWatch):
        self._loader, self._watch = loader, watch
        self._noted: set[Row] = set()

    def load(self, rows: Sequence[Row], seq_len: int) -> Batch:
        """Load the rows."""
        batch = self._loader.load(rows, seq_len)
        if self._watch.is_empty:
            self._noted.clear()
        new = [number for number, row in enumerate(rows) if row not in self._noted]
        if new:
            self._noted.update(rows)
            self._watch.add(batch.ids_BT.numpy()[new], batch.targets_BT.numpy()[new])
        return batch


@torch.no_grad()
def future_leak(engine: Engine, seq_len: int) -> dict[str, float]:
    """Return how much the hidden states of a row change with its last token: 0 but for a leak.

    All ranks must call it, since a sharded model has to be gathered; only rank 0 measures.
    """
    with engine.eval_weights() as model:
        if not engine.world.is_main or engine.mixed_precision.precision == "fp8":
            return {}
        length, num_tokens = min(seq_len, LEAK_TOKENS), model.settings.num_tokens
        if length < 2:
            return {}
        ids_BT = torch.arange(length, device=engine.device).unsqueeze(0) % num_tokens
        before_BTD = model.hidden(ids_BT)[:, :-1].float()
        ids_BT[0, -1] = (ids_BT[0, -1] + 1) % num_tokens
        after_BTD = model.hidden(ids_BT)[:, :-1].float()
        change, size = (after_BTD - before_BTD).abs().amax(), before_BTD.abs().mean()
        return {"model/future_leak": float(change / size.clamp(min=1e-9))}
