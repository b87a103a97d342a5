"""Deduplication decision: which documents of each slice are copies of an earlier document."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yxanul.base.errors import YxanulError
from yxanul.base.files import atomic_file
from yxanul.text.dedup.config import DeduplicateSettings
from yxanul.text.dedup.exact import ExactCopies
from yxanul.text.dedup.fingerprints import FingerprintFile
from yxanul.text.dedup.near import NearCopies

_CAUSES = (None, "duplicate", "near_duplicate")
_DUPLICATE, _NEAR_DUPLICATE = 1, 2
_MAX_DOCUMENTS = 2**32 - 1

OnStep = Callable[[int, int], None]
"""Progress callback: (steps done, total steps)."""


@dataclass(frozen=True)
class CopyCounts:
    """Counts of a decision."""

    documents: int
    duplicates: int
    near_duplicates: int


class Copies:
    """The decision for the documents of one slice."""

    def __init__(self, path: Path, codes: bytes) -> None:
        self._path = path
        self._codes = codes

    def __len__(self) -> int:
        """Return the number of documents in the slice, copies included."""
        return len(self._codes)

    def get(self, number: int) -> str | None:
        """Return the cause why document `number` is dropped, or None if it is kept."""
        try:
            return _CAUSES[self._codes[number]]
        except IndexError:
            raise YxanulError(
                f"{self._path} covers {len(self)} documents",
                got=f"document number {number}",
                hint="the text has changed since: compute the fingerprints again",
            ) from None


def write_copies(
    fingerprints: Sequence[Path],
    copies: Sequence[Path],
    settings: DeduplicateSettings,
    scratch: Path,
    on_step: OnStep | None = None,
) -> CopyCounts:
    """Decide over all slices and write a file of `copies` for each file of `fingerprints`.

    The decision depends only on the documents and their order, not on the slicing. `scratch` is a
    folder for this call alone: it is emptied first and deleted at the end.
    """
    files = [FingerprintFile(path, settings) for path in fingerprints]
    with _empty_folder(scratch) as folder:
        codes = _Decision(files, settings, folder, on_step or _ignore).codes()
    starts = _starts(files)
    for path, start, end in zip(copies, starts[:-1], starts[1:], strict=True):
        with atomic_file(path) as file:
            np.save(file, codes[start:end])
    counts = np.bincount(codes, minlength=len(_CAUSES)).tolist()
    return CopyCounts(len(codes), counts[_DUPLICATE], counts[_NEAR_DUPLICATE])


def read_copies(path: Path) -> Copies:
    """Read the decision for a slice."""
    try:
        codes = np.load(path)
    except (ValueError, EOFError):
        codes = None
    valid = isinstance(codes, np.ndarray) and codes.dtype == np.uint8 and codes.ndim == 1
    if codes is None or not valid or np.any(codes >= len(_CAUSES)):
        raise YxanulError(f"{path} is damaged", hint="delete it; it will be written again")
    return Copies(path, codes.tobytes())


class _Decision:
    """Decision over all files, in bounded memory plus 6 bytes per document."""

    def __init__(
        self,
        files: Sequence[FingerprintFile],
        settings: DeduplicateSettings,
        folder: Path,
        on_step: OnStep,
    ) -> None:
        self._files = files
        self._starts = _starts(files)
        documents = self._starts[-1]
        if documents > _MAX_DOCUMENTS:
            raise YxanulError(
                "too many documents to deduplicate",
                got=f"{documents:,}",
                expected=f"at most {_MAX_DOCUMENTS:,}",
            )
        near = settings.near
        self._exact = ExactCopies(folder / "exact", documents) if settings.exact else None
        self._near = NearCopies(folder / "near", documents, near) if near else None
        self._on_step = on_step

    def codes(self) -> np.ndarray:
        """Return for each document an index into _CAUSES; 0 means it is kept."""
        codes = np.zeros(self._starts[-1], np.uint8)
        for done, _ in enumerate(self._steps(codes), start=1):
            self._on_step(done, self._num_steps)
        if self._near:
            codes[self._near.components.later_members()] = _NEAR_DUPLICATE
        return codes

    @property
    def _num_steps(self) -> int:
        partitions = [finder.partitions for finder in (self._exact, self._near) if finder]
        return len(self._files) + sum(partitions)

    def _steps(self, codes: np.ndarray) -> Iterator[None]:
        for start, file in zip(self._starts, self._files, strict=False):
            self._add(start, file)
            yield
        if self._exact:
            for partition in range(self._exact.partitions):
                for documents in self._exact.copies(partition):
                    codes[documents] = _DUPLICATE
                yield
        if self._near:
            for partition in range(self._near.partitions):
                self._near.unite(partition, codes, self._read_signatures)
                yield

    def _add(self, first: int, file: FingerprintFile) -> None:
        for chunk in file.chunks():
            if self._exact:
                self._exact.add(first, chunk["text"])
            if self._near:
                self._near.add(first, chunk["ngrams"], chunk["signature"])
            first += len(chunk)

    def _read_signatures(self, documents: np.ndarray) -> np.ndarray:
        """Return the signatures of documents, given by ascending indices."""
        cuts = np.searchsorted(documents, self._starts)
        signatures = [
            file.read_signatures(documents[low:high].astype(np.int64) - start)
            for file, start, low, high in zip(
                self._files, self._starts, cuts, cuts[1:], strict=False
            )
            if low < high
        ]
        return np.concatenate(signatures)


def _starts(files: Sequence[FingerprintFile]) -> list[int]:
    """Return the index of each file's first document, and the total count."""
    return [0, *np.cumsum([file.count for file in files], dtype=np.int64).tolist()]


def _ignore(done: int, total: int) -> None:
    pass


@contextmanager
def _empty_folder(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
