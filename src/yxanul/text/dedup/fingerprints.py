"""Fingerprint files: one row per document of a slice, in order, and nothing else.

What determines the rows belongs into the name of the file (`fingerprints_key`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file, plain_digest
from yxanul.text.dedup.config import DeduplicateSettings
from yxanul.text.dedup.minhash import ngram_hashes, signatures, signing_method

_BATCH_DOCUMENTS = 1024
_BATCH_CHARS = 1_000_000
_CHUNK_ROWS = 8192


def write_fingerprints(texts: Iterable[str], settings: DeduplicateSettings, path: Path) -> int:
    """Write the fingerprints of a slice's documents atomically; return the number of documents."""
    rows, count = row_type(settings), 0
    with atomic_file(path) as file:
        for batch in _batches(texts):
            file.write(_rows(batch, settings, rows).tobytes())
            count += len(batch)
    return count


def fingerprints_key(settings: DeduplicateSettings) -> str:
    """Return a digest of the settings that affect fingerprints (the threshold does not)."""
    method = [near.ngram, signing_method()] if (near := settings.near) else None
    return plain_digest([row_type(settings).descr, method])


class FingerprintFile:
    """Reader of a fingerprint file."""

    def __init__(self, path: Path, settings: DeduplicateSettings) -> None:
        self.path = path
        self._type = row_type(settings)
        self.count, rest = divmod(path.stat().st_size, self._type.itemsize)
        if rest:
            raise YxanulError(f"{path} is incomplete", hint="delete it and write it again")

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the rows in order, in chunks.

        Fields, as enabled by the settings: text uint64 [2] (hash); ngrams uint32 (count) and
        signature uint32 [permutations].
        """
        with open(self.path, "rb") as file:
            while len(chunk := np.fromfile(file, self._type, _CHUNK_ROWS)):
                yield chunk

    def read_signatures(self, rows: np.ndarray) -> np.ndarray:
        """Return the signatures of some rows: uint32 [rows, permutations]."""
        kind, offset = self._type.fields["signature"][:2]  # type: ignore[index]
        result = np.empty((len(rows), *kind.shape), kind.base)
        offsets = offset + rows.astype(np.int64) * self._type.itemsize
        # pread rather than mmap: mapped pages would count as memory of this process.
        with open(self.path, "rb", buffering=0) as file:
            for signature, start in zip(result, offsets.tolist(), strict=True):
                os.preadv(file.fileno(), [signature], start)
        return result


def row_type(settings: DeduplicateSettings) -> np.dtype:
    """Return the type of a row, with the fields that the settings enable."""
    fields: list[Any] = [("text", "<u8", (2,))] if settings.exact else []
    if settings.near is not None:
        fields += [("ngrams", "<u4"), ("signature", "<u4", (settings.near.permutations,))]
    return np.dtype(fields)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    chars = 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        if len(batch) >= _BATCH_DOCUMENTS or chars >= _BATCH_CHARS:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch


def _rows(texts: Sequence[str], settings: DeduplicateSettings, kind: np.dtype) -> np.ndarray:
    rows = np.zeros(len(texts), kind)
    if settings.exact:
        digests = b"".join(map(_digest, texts))
        rows["text"] = np.frombuffer(digests, "<u8").reshape(-1, 2)
    if settings.near is not None:
        ngrams = [ngram_hashes(text, settings.near.ngram) for text in texts]
        rows["ngrams"] = [len(hashes) for hashes in ngrams]
        rows["signature"] = signatures(ngrams, settings.near.permutations)
    return rows


def _digest(text: str) -> bytes:
    """Hash a text after stripping white space; nothing else is normalised."""
    return hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=16).digest()
