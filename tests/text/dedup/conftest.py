"""Corpora for the tests of copies, and the way from texts to what is decided about them."""

from __future__ import annotations

import random

import pytest

from yxanul.text.dedup.copies import read_copies, write_copies
from yxanul.text.dedup.fingerprints import write_fingerprints

WORDS = [f"{a}{b}{c}" for a in "bdfglm" for b in "aeiou" for c in "klnprstv"] + ["one", "two"]


@pytest.fixture
def decide(tmp_path):
    """A function from parts (lists of texts) and settings to the causes, part by part."""
    numbers = iter(range(1000))

    def causes(parts, settings):
        folder = tmp_path / f"decision{next(numbers)}"
        fingerprints = [folder / f"{number}.bin" for number in range(len(parts))]
        copies = [folder / f"{number}.npy" for number in range(len(parts))]
        for path, texts in zip(fingerprints, parts, strict=True):
            assert write_fingerprints(iter(texts), settings, path) == len(texts)
        counts = write_copies(fingerprints, copies, settings, folder / "scratch")
        found = []
        for path, texts in zip(copies, parts, strict=True):
            read = read_copies(path)
            assert len(read) == len(texts)
            found.append(read)
        flat = [cause for part in found for cause in part]
        assert counts.documents == len(flat)
        assert counts.duplicates == flat.count("duplicate")
        assert counts.near_duplicates == flat.count("near_duplicate")
        return found

    return causes


@pytest.fixture
def some_words():
    """A function that draws words, the same ones in every run."""
    draws = random.Random(7)
    return lambda count: [draws.choice(WORDS) for _ in range(count)]


@pytest.fixture
def with_changed_run(some_words):
    """A function that replaces a share of the words, all in one run."""

    def changed(words, share):
        count = round(len(words) * share)
        start = (len(words) - count) // 2
        return [*words[:start], *some_words(count), *words[start + count :]]

    return changed


@pytest.fixture
def cut():
    """A function that cuts a list into parts at some places."""
    return lambda items, places: [
        items[a:b] for a, b in zip([0, *places], [*places, len(items)], strict=True)
    ]
