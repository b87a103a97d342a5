"""Figures of encoded sources as JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from yxanul.data.manifest import Manifest, SplitEntry


def report_on(manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """Return documents, tokens, bytes, dropped and so on, each by source.

    `splits` has the first three by split.
    """
    splits = {
        figure: {
            name: {split: getattr(entry, figure) for split, entry in manifest.splits.items()}
            for name, manifest in manifests.items()
        }
        for figure in ("documents", "tokens", "bytes")
    }
    return {
        **{
            figure: {name: sum(of_split.values()) for name, of_split in by_source.items()}
            for figure, by_source in splits.items()
        },
        "dropped": {name: manifest.dropped for name, manifest in manifests.items()},
        "synthetic": {name: manifest.synthetic for name, manifest in manifests.items()},
        "chars_per_token": {
            name: chars_per_token(*manifest.splits.values()) for name, manifest in manifests.items()
        },
        "lengths": {name: lengths_of(manifest) for name, manifest in manifests.items()},
        "splits": splits,
    }


def chars_per_token(*splits: SplitEntry) -> float:
    """Return the characters of text per token, eos excluded."""
    tokens = sum(split.tokens - split.documents for split in splits)
    return sum(split.chars for split in splits) / max(1, tokens)


def lengths_of(manifest: Manifest) -> dict[str, int]:
    """Return document counts by the lower bound n of their length: n to 2n - 1 tokens."""
    by_split = (split.lengths for split in manifest.splits.values())
    counts = [sum(bins) for bins in zip_longest(*by_split, fillvalue=0)]
    first = next((n for n, count in enumerate(counts) if count), 0)
    return {str(1 << n): counts[n] for n in range(first, len(counts))}
