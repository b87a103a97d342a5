"""Facts about the batches of a step: what reveals leaks, repetitions and copies of held-out text.

Shapes: B rows, T positions.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

NGRAM_TOKENS, MAX_NGRAMS = 32, 4096
MAX_SEARCHED_TOKENS = 16_384
"""Tokens of a step in which held-out n-grams are looked for: a bound of the cost."""
_TABLE_BITS = 20


class BatchWatch:
    """Collects facts about batches as they are loaded."""

    def __init__(self, held_out: Iterable[np.ndarray] = ()) -> None:
        """Initialize with the ids of held-out documents, of which up to 4,096 n-grams of
        32 tokens are looked for."""
        hashes = [_hashes(ids[None])[0, ::NGRAM_TOKENS] for ids in held_out]
        ngrams = np.unique(np.concatenate([np.empty(0, np.uint64), *hashes]))
        step = -(-len(ngrams) // MAX_NGRAMS) or 1
        self._ngrams = ngrams[::step]
        self._digest = zlib.crc32(self._ngrams.tobytes())
        self._seen = np.zeros(len(self._ngrams), bool)
        self._table = np.zeros(1 << _TABLE_BITS, bool)
        self._table[self._ngrams >> np.uint64(64 - _TABLE_BITS)] = True
        self._clear()

    def _clear(self) -> None:
        self._checksum, self._counts = 0, np.zeros(0, np.int64)
        self._num_targets = self._num_copied = self._num_searched = 0
        self._num_rows, self._rows = 0, set[int]()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was loaded for the current step yet."""
        return not self._num_searched

    def add(self, ids_BT: np.ndarray, targets_BT: np.ndarray) -> None:
        """Take note of a batch of the current step, int64; negative targets do not count."""
        self._checksum = zlib.crc32(ids_BT.tobytes(), self._checksum)
        is_target = targets_BT >= 0
        counts = np.bincount(targets_BT[is_target], minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        self._num_targets += int(is_target.sum())
        self._num_copied += int((is_target & (targets_BT == ids_BT)).sum())
        if ids_BT.shape[1] >= NGRAM_TOKENS:
            self._num_rows += len(ids_BT)
            self._rows.update(zlib.crc32(row.tobytes()) for row in ids_BT)
        num_searched = -(-(MAX_SEARCHED_TOKENS - self._num_searched) // ids_BT.shape[1])
        hashes = _hashes(ids_BT[: max(0, num_searched)])
        self._num_searched += ids_BT.size
        likely = hashes[self._table[hashes >> np.uint64(64 - _TABLE_BITS)]]
        self._seen |= np.isin(self._ngrams, likely)

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the step, and start the next; {} if nothing was loaded."""
        if not self._num_targets:
            self._clear()
            return {}
        shares = self._counts[self._counts > 0] / self._num_targets
        metrics: dict[str, float] = {
            "data/unigram_entropy": float(-(shares * np.log(shares)).sum()),
            "data/target_is_input": self._num_copied / self._num_targets,
            "data/checksum": self._checksum,
        }
        if self._num_rows:
            metrics["data/repeated_rows"] = 1 - len(self._rows) / self._num_rows
        if len(self._ngrams):
            metrics["data/held_out_seen"] = float(self._seen.mean())
        self._clear()
        return metrics

    def to_dict(self) -> dict[str, Any]:
        """Return which n-grams have been seen, as plain data."""
        return {"ngrams": self._digest, "seen": np.packbits(self._seen).tobytes().hex()}

    def load(self, plain: Mapping[str, Any]) -> None:
        """Restore what `to_dict` returned, unless the n-grams are others."""
        packed = np.frombuffer(bytes.fromhex(plain["seen"]), np.uint8)
        is_same = plain.get("ngrams", self._digest) == self._digest  # earlier states lack it
        if is_same and len(packed) == -(-len(self._seen) // 8):
            self._seen = np.unpackbits(packed, count=len(self._seen)).astype(bool)


def _hashes(ids_BT: np.ndarray) -> np.ndarray:
    """Return a hash of each n-gram of 32 consecutive tokens of a row, by doubling its length."""
    hashes, length = ids_BT.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), 1
    while length < NGRAM_TOKENS:
        factor = np.uint64(0xC2B2AE3D27D4EB4F + 2 * length)
        hashes = hashes[:, :-length] * factor + (hashes[:, length:] ^ (hashes[:, length:] >> 29))
        length *= 2
    return hashes
