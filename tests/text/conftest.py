"""Reading whole sources in the tests of text."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from yxanul.text.documents import Document, Dropped
from yxanul.text.sources import open_source


@pytest.fixture
def read():
    """A function that reads all of a source: its documents, texts and counts of what dropped."""

    def read_all(settings, name="mine"):
        source = open_source(name, settings)
        parts = source.slices()
        items = [item for part in parts for item in source.read(part)]
        documents = [item for item in items if isinstance(item, Document)]
        return SimpleNamespace(
            parts=parts,
            items=items,
            notes=source.notes,
            documents=documents,
            texts=[document.text for document in documents],
            dropped=Counter(item.cause for item in items if isinstance(item, Dropped)),
        )

    return read_all


@pytest.fixture
def peak_bytes():
    """A context manager that measures the most memory that Python held at once inside it."""

    @contextmanager
    def measured():
        peak = SimpleNamespace(bytes=0)
        tracemalloc.start()
        try:
            yield peak
            peak.bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measured
