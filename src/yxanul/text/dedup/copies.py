"""Deduplication decision: which documents of each slice are copies of an earlier document."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file
from yxanul.text.dedup.config import DeduplicateSettings
from yxanul.text.dedup.fingerprints import FingerprintFile
from yxanul.text.dedup.near import NearCopies
from yxanul.text.dedup.spill import Spill, partition_of, partitions_for

_CAUSES = (None, "duplicate", "near_duplicate")
_DUPLICATE, _NEAR_DUPLICATE = 1, 2
_MAX_DOCUMENTS = 2**32 - 1
_RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("document", "<u4")])


class CopyCounts(NamedTuple):
    """Counts of a decision."""

    documents: int
    duplicates: int
    near_duplicates: int


def write_copies(
    fingerprints: Sequence[Path],
    copies: Sequence[Path],
    settings: DeduplicateSettings,
    scratch: Path,
    check: Callable[[], None] = lambda: None,
) -> CopyCounts:
    """Decide over all slices and write a file of `copies` for each file of `fingerprints`.

    The decision depends only on the documents and their order, not on the slicing. `scratch` is a
    folder for this call alone: it is emptied first and deleted at the end. `check` is called
    periodically; an exception it raises aborts the work.
    """
    files = [FingerprintFile(path, settings) for path in fingerprints]
    # The index of each file's first document, and the total count.
    starts = [0, *np.cumsum([file.count for file in files], dtype=np.int64).tolist()]
    if starts[-1] > _MAX_DOCUMENTS:
        raise YxanulError(
            "too many documents to deduplicate",
            got=f"{starts[-1]:,}",
            expected=f"at most {_MAX_DOCUMENTS:,}",
            hint="set data.deduplicate: null",
        )
    with _empty_folder(scratch):
        codes = _decide(files, starts, settings, scratch, check)
    for path, start, end in zip(copies, starts[:-1], starts[1:], strict=True):
        with atomic_file(path) as file:
            np.save(file, codes[start:end])
    counts = np.bincount(codes, minlength=len(_CAUSES)).tolist()
    return CopyCounts(len(codes), counts[_DUPLICATE], counts[_NEAR_DUPLICATE])


def read_copies(path: Path) -> list[str | None]:
    """Return for each document of a slice the cause why it is dropped, or None if it is kept."""
    try:
        return [_CAUSES[code] for code in np.load(path).astype(np.uint8, casting="safe").tolist()]
    except (ValueError, EOFError, IndexError, TypeError, BadZipFile):
        raise YxanulError(
            f"{path} is damaged", hint="delete it; it will be written again"
        ) from None


def _decide(
    files: Sequence[FingerprintFile],
    starts: Sequence[int],
    settings: DeduplicateSettings,
    folder: Path,
    check: Callable[[], None],
) -> np.ndarray:
    """Return for each document an index into _CAUSES, in bounded memory and 10 bytes each."""
    codes = np.zeros(starts[-1], np.uint8)
    exact = ExactCopies(folder / "exact", len(codes)) if settings.exact else None
    near = NearCopies(folder / "near", len(codes), settings.near) if settings.near else None
    for first, file in zip(starts, files, strict=False):
        check()
        for chunk in file.chunks():
            if exact:
                exact.add(first, chunk["text"])
            if near:
                near.add(first, chunk["ngrams"], chunk["signature"])
            first += len(chunk)
    if exact:
        for partition in range(exact.partitions):
            check()
            for documents in exact.copies(partition):
                codes[documents] = _DUPLICATE

    def read_signatures(documents: np.ndarray) -> np.ndarray:
        cuts = np.searchsorted(documents, starts)
        runs = zip(files, starts, cuts, cuts[1:], strict=False)
        return np.concatenate(
            [
                file.read_signatures(documents[low:high].astype(np.int64) - start)
                for file, start, low, high in runs
                if low < high
            ]
        )

    if near:
        for partition in range(near.partitions):
            check()
            near.unite(partition, codes, read_signatures)
        codes[near.components.later_members()] = _NEAR_DUPLICATE
    return codes


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


@contextmanager
def _empty_folder(folder: Path) -> Iterator[None]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
