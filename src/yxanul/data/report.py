"""What became of the text: figures of each source, for people and for --json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yxanul.data.manifest import Manifest, Split


@dataclass(frozen=True)
class SourceReport:
    """The figures of one source, by split where a split has its own."""

    documents: dict[Split, int]
    tokens: dict[Split, int]
    bytes: dict[Split, int]
    dropped: dict[str, int]
    synthetic: bool


@dataclass(frozen=True)
class CorpusReport:
    """The figures of all sources of a run."""

    sources: dict[str, SourceReport]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data: documents, tokens, bytes and dropped, each by source.

        `splits` has the same figures of training and validation apart.
        """
        counted = ("documents", "tokens", "bytes")
        return {
            **{name: self._by_source(name, _sum) for name in counted},
            "dropped": self._by_source("dropped"),
            "synthetic": self._by_source("synthetic"),
            "splits": {name: self._by_source(name) for name in counted},
        }

    def _by_source(self, name: str, of: Callable[[Any], Any] = lambda x: x) -> dict[str, Any]:
        return {source: of(getattr(report, name)) for source, report in self.sources.items()}


def _sum(splits: Mapping[Split, int]) -> int:
    return sum(splits.values())


def report_on(manifests: Mapping[str, Manifest]) -> CorpusReport:
    """Return the report on encoded sources, by name."""
    return CorpusReport({name: _source(manifest) for name, manifest in manifests.items()})


def _source(manifest: Manifest) -> SourceReport:
    splits = manifest.splits
    return SourceReport(
        documents={split: entry.documents for split, entry in splits.items()},
        tokens={split: entry.tokens for split, entry in splits.items()},
        bytes={split: entry.bytes for split, entry in splits.items()},
        dropped=dict(manifest.dropped),
        synthetic=manifest.synthetic,
    )
