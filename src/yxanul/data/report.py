"""Figures of encoded sources as JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product, zip_longest
from typing import Any

from yxanul.data.manifest import Manifest, SplitEntry

_COUNTS = ("documents", "tokens", "bytes")


def report_on(manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """Return documents, tokens, bytes, dropped and so on, each by source.

    `splits` has the first three by split.
    """
    sources = {name: figures_of(manifest) for name, manifest in manifests.items()}
    report: dict[str, Any] = {count: {} for count in _COUNTS}
    for key in ("dropped", "synthetic", "chars_per_token", "lengths"):
        report[key] = {name: source[key] for name, source in sources.items()}
    report["splits"] = {count: {} for count in _COUNTS}
    for count, (name, source) in product(_COUNTS, sources.items()):
        by_split = {split: figures[count] for split, figures in source["splits"].items()}
        report["splits"][count][name] = by_split
        report[count][name] = sum(by_split.values())
    return report


def figures_of(manifest: Manifest) -> dict[str, Any]:
    """Return the figures of one source; `lengths` counts documents by the lower bound n of their
    length: n to 2n - 1 tokens."""
    entries = manifest.splits
    counts = [
        sum(bins) for bins in zip_longest(*(e.lengths for e in entries.values()), fillvalue=0)
    ]
    first = next((n for n, count in enumerate(counts) if count), 0)
    return {
        "synthetic": manifest.synthetic,
        "dropped": manifest.dropped,
        "chars_per_token": _chars_per_token(*entries.values()),
        "lengths": {str(1 << n): counts[n] for n in range(first, len(counts))},
        "splits": {
            split: {count: getattr(entry, count) for count in _COUNTS}
            | {"chars_per_token": _chars_per_token(entry)}
            for split, entry in entries.items()
        },
    }


def _chars_per_token(*splits: SplitEntry) -> float:
    """Return the characters of text per token, eos excluded."""
    tokens = sum(split.tokens - split.documents for split in splits)
    return sum(split.chars for split in splits) / max(1, tokens)
