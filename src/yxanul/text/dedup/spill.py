"""Records spilled to disk, in partitions small enough to sort in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

CHUNK_RECORDS = 1 << 20
"""Maximum number of records in memory."""


def partitions_for(records: int) -> int:
    """Return the number of partitions, each of which holds about half a chunk."""
    return max(1, -(-records // (CHUNK_RECORDS // 2)))


def partition_of(keys: np.ndarray, partitions: int) -> np.ndarray:
    """Return the partition of each 64-bit key, by its upper 32 bits."""
    return ((keys >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32)


class Spill:
    """Partitions of records on disk, each in insertion order."""

    def __init__(self, folder: Path, records: np.dtype) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._type = records
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._num_waiting = 0

    def add(self, partitions: np.ndarray, records: np.ndarray) -> None:
        """Add each record to its partition."""
        self._waiting.append((partitions.astype(np.uint32), records))
        self._num_waiting += len(records)
        if self._num_waiting >= CHUNK_RECORDS:
            self._flush()

    def chunks(self, partition: int) -> Iterator[np.ndarray]:
        """Yield the records of a partition in chunks, then delete them."""
        self._flush()
        path = self._path(partition)
        if not path.exists():
            return
        with open(path, "rb") as file:
            while len(chunk := np.fromfile(file, self._type, CHUNK_RECORDS)):
                yield chunk
        path.unlink()

    def _flush(self) -> None:
        if not self._num_waiting:
            return
        partitions = np.concatenate([partitions for partitions, _ in self._waiting])
        order = np.argsort(partitions, kind="stable")
        partitions = partitions[order]
        records = np.concatenate([records for _, records in self._waiting])[order]
        self._waiting, self._num_waiting = [], 0
        starts = np.flatnonzero(np.diff(partitions, prepend=partitions[0] + 1))
        for start, end in zip(starts, [*starts[1:], len(records)], strict=True):
            with open(self._path(int(partitions[start])), "ab", buffering=0) as file:
                file.write(records[start:end].tobytes())

    def _path(self, partition: int) -> Path:
        return self._folder / f"{partition:06d}"
