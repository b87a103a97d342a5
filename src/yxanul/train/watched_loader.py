"""Loader of batches that the alert rules are told of."""

from __future__ import annotations

from collections.abc import Sequence

from yxanul.data.batches import Batch, BatchLoader
from yxanul.data.mix import Row
from yxanul.monitor.batches import BatchWatch


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
