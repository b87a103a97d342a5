"""Fingerprint files: one row per document of a slice, in order.

A file is a line of JSON, padded with spaces to 512 bytes, followed by the rows as a numpy array.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file
from yxanul.text.dedup.config import DeduplicateSettings
from yxanul.text.dedup.minhash import ngram_hashes, signatures, signing_method

_HEADER_BYTES = 512
_BATCH_DOCUMENTS = 1024
_BATCH_CHARS = 1_000_000
_CHUNK_ROWS = 8192


def write_fingerprints(texts: Iterable[str], settings: DeduplicateSettings, path: Path) -> int:
    """Write the fingerprints of a slice's documents atomically; return the number of documents."""
    kind, rows = _kind(settings), _row_type(settings)
    count = 0
    with atomic_file(path) as file:
        file.write(_header(kind, 0))
        for batch in _batches(texts):
            file.write(_rows(batch, settings, rows).tobytes())
            count += len(batch)
        file.seek(0)
        file.write(_header(kind, count))
    return count


def are_written(path: Path, settings: DeduplicateSettings) -> bool:
    """Return whether the file exists, is complete, and was written with these settings."""
    try:
        FingerprintFile(path, settings)
    except (YxanulError, FileNotFoundError):
        return False
    return True


def fingerprints_key(settings: DeduplicateSettings) -> str:
    """Return a digest of the settings that affect fingerprints (the threshold does not)."""
    return hashlib.sha256(json.dumps(_kind(settings)).encode()).hexdigest()[:16]


class FingerprintFile:
    """Reader of a fingerprint file."""

    def __init__(self, path: Path, settings: DeduplicateSettings) -> None:
        self.path = path
        self._type = _row_type(settings)
        with open(path, "rb") as file:
            try:
                header = json.loads(file.read(_HEADER_BYTES))
                self.count = int(header.pop("documents"))
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
                raise YxanulError(
                    f"{path} is not a fingerprint file", hint="delete it and write it again"
                ) from None
            size = os.fstat(file.fileno()).st_size
        if header != _kind(settings):
            raise YxanulError(f"{path} was written with other settings", hint="write it again")
        if size != _HEADER_BYTES + self.count * self._type.itemsize:
            raise YxanulError(f"{path} is incomplete", hint="delete it and write it again")

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the rows in order, in chunks.

        Fields, as enabled by the settings: text uint64 [2] (hash); ngrams uint32 (count) and
        signature uint32 [permutations].
        """
        with open(self.path, "rb") as file:
            file.seek(_HEADER_BYTES)
            while len(chunk := np.fromfile(file, self._type, _CHUNK_ROWS)):
                yield chunk

    def read_signatures(self, rows: np.ndarray) -> np.ndarray:
        """Return the signatures of some rows: uint32 [rows, permutations]."""
        kind, offset = self._type.fields["signature"][:2]  # type: ignore[index]
        result = np.empty((len(rows), *kind.shape), kind.base)
        offsets = _HEADER_BYTES + offset + rows.astype(np.int64) * self._type.itemsize
        # pread rather than mmap: mapped pages would count as memory of this process.
        with open(self.path, "rb", buffering=0) as file:
            for signature, start in zip(result, offsets.tolist(), strict=True):
                os.preadv(file.fileno(), [signature], start)
        return result


def _kind(settings: DeduplicateSettings) -> dict[str, Any]:
    """Return the header fields that must be equal for two files to be comparable."""
    near = settings.near
    return {
        "format": "yxanul-fingerprints",
        "version": 1,
        "exact": settings.exact,
        "ngram": near.ngram if near else None,
        "permutations": near.permutations if near else None,
        "method": signing_method() if near else None,
    }


def _row_type(settings: DeduplicateSettings) -> np.dtype:
    fields: list[Any] = [("text", "<u8", (2,))] if settings.exact else []
    if settings.near is not None:
        fields += [("ngrams", "<u4"), ("signature", "<u4", (settings.near.permutations,))]
    return np.dtype(fields)


def _header(kind: dict[str, Any], documents: int) -> bytes:
    return json.dumps({**kind, "documents": documents}).encode().ljust(_HEADER_BYTES - 1) + b"\n"


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
