"""Exact duplicates: equal hashes, found partition by partition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from yxanul.text.dedup.spill import Spill, partition_of, partitions_for

_RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("document", "<u4")])


class ExactCopies:
    """Collects the hashes of all documents, then finds the duplicates."""

    def __init__(self, folder: Path, documents: int) -> None:
        self.partitions = partitions_for(documents)
        self._spill = Spill(folder, _RECORD)

    def add(self, first: int, hashes: np.ndarray) -> None:
        """Add the hashes (uint64 [n, 2]) of documents `first`, `first` + 1, ..."""
        records = np.empty(len(hashes), _RECORD)
        records["high"], records["low"] = hashes[:, 0], hashes[:, 1]
        records["document"] = np.arange(first, first + len(hashes))
        self._spill.add(partition_of(hashes[:, 0], self.partitions), records)

    def copies(self, partition: int) -> Iterator[np.ndarray]:
        """Yield the documents of a partition whose text occurred before."""
        firsts = np.empty(0, _RECORD)
        for chunk in self._spill.chunks(partition):
            records = np.concatenate([firsts, chunk])
            # The sort is stable: of equal hashes the earliest document comes first.
            records = records[np.lexsort((records["low"], records["high"]))]
            again = np.zeros(len(records), bool)
            again[1:] = (np.diff(records["high"]) == 0) & (np.diff(records["low"]) == 0)
            yield records["document"][again]
            firsts = records[~again]
