"""Near-duplicates by locality-sensitive hashing: candidates share a band of their signatures and
are then verified on the whole signatures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from yxanul.text.dedup.config import NearSettings
from yxanul.text.dedup.spill import Spill, partition_of, partitions_for
from yxanul.text.words import mixed

_RECORD = np.dtype([("key", "<u8"), ("document", "<u4")])
_CHANCE = 0.9
_WINDOW = 16
"""Documents with an equal band are compared with this many predecessors: with all of them in small
groups, and in linear time in large ones."""
_PAIRS_AT_ONCE = 1 << 14

ReadSignatures = Callable[[np.ndarray], np.ndarray]
"""Returns the signatures of documents, given by ascending indices."""


def bands_and_rows(threshold: float, permutations: int) -> tuple[int, int]:
    """Return the number of bands and the rows per band.

    These are the longest bands that find a pair at the threshold similarity with probability 0.9.
    False positives are removed by comparing whole signatures.
    """
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= _CHANCE:
            return bands, rows
    return permutations, 1


class Components:
    """Disjoint sets of documents (union-find); the root of each is its earliest document."""

    def __init__(self, documents: int) -> None:
        self._parents = np.arange(documents, dtype=np.uint32)

    def roots(self, documents: np.ndarray) -> np.ndarray:
        """Return the root of each document, with path compression."""
        parents = self._parents
        while True:
            up = parents[documents]
            further = parents[up]
            if np.array_equal(up, further):
                return up
            parents[documents] = further

    def unite(self, left: np.ndarray, right: np.ndarray) -> None:
        """Merge the sets of each pair of documents."""
        while len(left):
            a, b = self.roots(left), self.roots(right)
            apart = a != b
            left, right, a, b = left[apart], right[apart], a[apart], b[apart]
            # A root's parent is always smaller, so the loop ends with the smallest as the root.
            np.minimum.at(self._parents, np.maximum(a, b), np.minimum(a, b))

    def later_members(self) -> np.ndarray:
        """Return for each document whether its set has an earlier one: bool [documents]."""
        return self._parents != np.arange(len(self._parents), dtype=np.uint32)


class NearCopies:
    """Collects the bands of all signatures, then merges near-duplicates into components."""

    def __init__(self, folder: Path, documents: int, settings: NearSettings) -> None:
        self._threshold = settings.threshold
        self._bands, self._rows = bands_and_rows(settings.threshold, settings.permutations)
        self._partitions = partitions_for(documents)
        self._spill = Spill(folder, _RECORD)
        self.partitions = self._bands * self._partitions
        self.components = Components(documents)

    def add(self, first: int, ngrams: np.ndarray, signatures: np.ndarray) -> None:
        """Add the signatures of documents `first`, `first` + 1, ...; skip those without n-grams."""
        signed = np.flatnonzero(ngrams)
        if not len(signed):
            return
        columns = np.ascontiguousarray(signatures[signed].T)
        records = np.empty(len(signed), _RECORD)
        records["document"] = first + signed
        for band in range(self._bands):
            keys = _key(columns[band * self._rows : (band + 1) * self._rows])
            records["key"] = keys
            partitions = partition_of(keys, self._partitions) + np.uint64(band * self._partitions)
            self._spill.add(partitions, records.copy())

    def unite(self, partition: int, gone: np.ndarray, read: ReadSignatures) -> None:
        """Merge the near-duplicates of a partition; skip documents whose `gone` is not 0."""
        for left, right in self._candidates(partition, gone):
            for start in range(0, len(left), _PAIRS_AT_ONCE):
                batch = slice(start, start + _PAIRS_AT_ONCE)
                self._unite_if_near(left[batch], right[batch], read)

    def _candidates(
        self, partition: int, gone: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield pairs of documents with an equal band, at most a window apart in its group.

        The last records of each group are carried over to the next chunk, so that pairs do not
        depend on chunk boundaries.
        """
        carried = np.empty(0, _RECORD)
        for chunk in self._spill.chunks(partition):
            new_from = chunk["document"][0]
            records = np.concatenate([carried, chunk[gone[chunk["document"]] == 0]])
            records = records[np.argsort(records["key"], kind="stable")]
            keys, documents = records["key"], records["document"]
            for distance in range(1, _WINDOW + 1):
                right = np.flatnonzero(keys[distance:] == keys[:-distance]) + distance
                if not len(right):
                    break
                right = right[documents[right] >= new_from]
                yield documents[right - distance], documents[right]
            carried = records[_among_last(keys, _WINDOW)]

    def _unite_if_near(self, left: np.ndarray, right: np.ndarray, read: ReadSignatures) -> None:
        apart = self.components.roots(left) != self.components.roots(right)
        left, right = left[apart], right[apart]
        if not len(left):
            return
        documents, index = np.unique(np.concatenate([left, right]), return_inverse=True)
        signatures = read(documents)
        equal = signatures[index[: len(left)]] == signatures[index[len(left) :]]
        near = equal.mean(axis=1) >= self._threshold
        self.components.unite(left[near], right[near])


def _key(rows: np.ndarray) -> np.ndarray:
    """Hash the rows of a band into one key per document: uint64."""
    keys = np.zeros(rows.shape[1], np.uint64)
    for row in rows:
        keys *= np.uint64(0x9E3779B97F4A7C15)
        keys += row
    return mixed(keys)


def _among_last(keys: np.ndarray, count: int) -> np.ndarray:
    """Return for each record whether it is among the last `count` of its contiguous group."""
    last = np.ones(len(keys), bool)
    last[:-count] = keys[count:] != keys[:-count]
    return last
