"""Figures of each encoded source, for the console and for --json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from yxanul.data.manifest import SPLITS, Manifest, Split, SplitEntry

_COUNTED = ("documents", "tokens", "bytes")


@dataclass(frozen=True)
class SourceReport:
    """Figures of one source."""

    documents: dict[Split, int]
    tokens: dict[Split, int]
    bytes: dict[Split, int]
    chars: dict[Split, int]
    lengths: tuple[int, ...]
    """Histogram: entry n counts documents with 2^n to 2^(n+1) - 1 tokens."""
    dropped: dict[str, int]
    synthetic: bool

    @property
    def chars_per_token(self) -> float:
        """Characters of text per token, eos excluded."""
        return _sum(self.chars) / max(1, _sum(self.tokens) - _sum(self.documents))


@dataclass(frozen=True)
class CorpusReport:
    """Figures of all sources of a run."""

    sources: dict[str, SourceReport]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON data: documents, tokens, bytes, dropped and so on, each by source.

        `splits` has the first three by split; `lengths` counts documents by their minimum number
        of tokens, a power of two.
        """
        reports = self.sources.items()
        sums = {name: {s: _sum(getattr(r, name)) for s, r in reports} for name in _COUNTED}
        return {
            **sums,
            "dropped": {source: report.dropped for source, report in reports},
            "synthetic": {source: report.synthetic for source, report in reports},
            "chars_per_token": {source: report.chars_per_token for source, report in reports},
            "lengths": {source: _histogram(report.lengths) for source, report in reports},
            "splits": {name: {s: getattr(r, name) for s, r in reports} for name in _COUNTED},
        }


def _sum(splits: Mapping[Split, int]) -> int:
    return sum(splits.values())


def _histogram(lengths: tuple[int, ...]) -> dict[str, int]:
    """Return document counts by the lower bound n of their length: n to 2n - 1 tokens."""
    first = next((n for n, count in enumerate(lengths) if count), 0)
    return {str(1 << n): lengths[n] for n in range(first, len(lengths))}


def report_on(manifests: Mapping[str, Manifest]) -> CorpusReport:
    """Return the report on sources from their manifests."""
    return CorpusReport({name: _source(manifest) for name, manifest in manifests.items()})


def _source(manifest: Manifest) -> SourceReport:
    splits = manifest.splits
    return SourceReport(
        documents={split: entry.documents for split, entry in splits.items()},
        tokens={split: entry.tokens for split, entry in splits.items()},
        bytes={split: entry.bytes for split, entry in splits.items()},
        chars={split: entry.chars for split, entry in splits.items()},
        lengths=_sum_lengths([splits[split] for split in SPLITS]),
        dropped=dict(manifest.dropped),
        synthetic=manifest.synthetic,
    )


def _sum_lengths(entries: list[SplitEntry]) -> tuple[int, ...]:
    return tuple(map(sum, zip_longest(*(entry.lengths for entry in entries), fillvalue=0)))
