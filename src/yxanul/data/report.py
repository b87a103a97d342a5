"""What became of the text: figures of each source, for people and for --json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yxanul.data.manifest import SPLITS, Manifest, Split, SplitEntry

_COUNTED = ("documents", "tokens", "bytes")


@dataclass(frozen=True)
class SourceReport:
    """The figures of one source, by split where a split has its own."""

    documents: dict[Split, int]
    tokens: dict[Split, int]
    bytes: dict[Split, int]
    chars: dict[Split, int]
    lengths: tuple[int, ...]
    """At place n, how many documents have 2^n to 2^(n+1) - 1 tokens."""
    dropped: dict[str, int]
    synthetic: bool

    @property
    def chars_per_token(self) -> float:
        """Characters of text to a token, ends of text not counted."""
        return _sum(self.chars) / max(1, _sum(self.tokens) - _sum(self.documents))


@dataclass(frozen=True)
class CorpusReport:
    """The figures of all sources of a run."""

    sources: dict[str, SourceReport]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: documents, tokens, bytes, dropped and so on, each by source.

        `splits` has the same figures of training and validation apart; `lengths` counts documents
        by the number of tokens that they have at least: 1, 2, 4, 8 ...
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
    """Return how many documents have at least so many tokens, and less than twice as many."""
    first = next((place for place, count in enumerate(lengths) if count), 0)
    return {str(1 << place): lengths[place] for place in range(first, len(lengths))}


def report_on(manifests: Mapping[str, Manifest]) -> CorpusReport:
    """Return the report on encoded sources, by name."""
    return CorpusReport({name: _source(manifest) for name, manifest in manifests.items()})


def _source(manifest: Manifest) -> SourceReport:
    splits = manifest.splits
    return SourceReport(
        documents={split: entry.documents for split, entry in splits.items()},
        tokens={split: entry.tokens for split, entry in splits.items()},
        bytes={split: entry.bytes for split, entry in splits.items()},
        chars={split: entry.chars for split, entry in splits.items()},
        lengths=_added([splits[split] for split in SPLITS]),
        dropped=dict(manifest.dropped),
        synthetic=manifest.synthetic,
    )


def _added(entries: list[SplitEntry]) -> tuple[int, ...]:
    places = range(max(len(entry.lengths) for entry in entries))
    return tuple(sum(dict(enumerate(e.lengths)).get(n, 0) for e in entries) for n in places)
