"""Files of fingerprints: one row for each document of a part, in its order.

A file is a line of JSON, filled up with spaces to 512 bytes, and the rows, which numpy maps.
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
from yxanul.text.dedup.ngrams import ngram_hashes
from yxanul.text.dedup.signatures import signatures, signing_method

_HEADER_BYTES = 512
_BATCH_DOCUMENTS = 1024
_BATCH_CHARS = 1_000_000
_CHUNK_ROWS = 8192


def write_fingerprints(texts: Iterable[str], settings: DeduplicateSettings, path: Path) -> int:
    """Write the fingerprints of a part's documents, whole or not at all; return how many."""
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
    """Return whether the file is there, whole, and of the kind that `settings` ask for."""
    try:
        FingerprintFile(path, settings)
    except (YxanulError, FileNotFoundError):
        return False
    return True


def fingerprints_key(settings: DeduplicateSettings) -> str:
    """Return a digest of what decides how a text's fingerprint looks (no threshold does)."""
    return hashlib.sha256(json.dumps(_kind(settings)).encode()).hexdigest()[:16]


class FingerprintFile:
    """Reads a file of fingerprints."""

    def __init__(self, path: Path, settings: DeduplicateSettings) -> None:
        self.path = path
        self._type = _row_type(settings)
        with open(path, "rb") as file:
            header = _parse(path, file.read(_HEADER_BYTES))
            size = os.fstat(file.fileno()).st_size
        self.count = int(header.pop("documents"))
        if header != _kind(settings):
            raise YxanulError(f"{path} was made with other settings", hint="write it again")
        if size != _HEADER_BYTES + self.count * self._type.itemsize:
            raise YxanulError(f"{path} is not whole", hint="delete it and write it again")

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the rows in order, some thousands at a time, with the fields that there are:
        text uint64 [2]; ngrams uint32 (how many), signature uint32 [permutations]."""
        with open(self.path, "rb") as file:
            file.seek(_HEADER_BYTES)
            while len(chunk := np.fromfile(file, self._type, _CHUNK_ROWS)):
                yield chunk

    def read_signatures(self, rows: np.ndarray) -> np.ndarray:
        """Return the signatures of some rows: uint32 [rows, permutations]."""
        kind, offset = self._type.fields["signature"][:2]  # type: ignore[index]
        found = np.empty((len(rows), *kind.shape), kind.base)
        places = _HEADER_BYTES + offset + rows.astype(np.int64) * self._type.itemsize
        # Reads, not a map: mapped pages would count as memory of this process.
        with open(self.path, "rb", buffering=0) as file:
            for one, place in zip(found, places.tolist(), strict=True):
                os.preadv(file.fileno(), [one], place)
        return found


def _kind(settings: DeduplicateSettings) -> dict[str, Any]:
    """Return what two files must share to be compared."""
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


def _parse(path: Path, header: bytes) -> dict[str, Any]:
    try:
        values = json.loads(header)
        if values["format"] == "yxanul-fingerprints" and values["documents"] >= 0:
            return values
    except (ValueError, TypeError, KeyError):
        pass
    raise YxanulError(f"{path} is no file of fingerprints", hint="delete it and write it again")


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
        rows["ngrams"] = [len(one) for one in ngrams]
        rows["signature"] = signatures(ngrams, settings.near.permutations)
    return rows


def _digest(text: str) -> bytes:
    """Hash a text without the white space at its ends; nothing else is made equal."""
    return hashlib.blake2b(text.strip().encode("utf-8", "surrogatepass"), digest_size=16).digest()
