import random

import numpy as np
import pytest

from yxanul.text.dedup import spill
from yxanul.text.dedup.config import DeduplicateSettings
from yxanul.text.dedup.copies import ExactCopies

EXACT = DeduplicateSettings()


def first_of_each(texts):
    seen = set()
    return [None if not (t in seen or seen.add(t)) else "duplicate" for t in texts]


def test_within_a_part_across_parts_and_sources(decide):
    parts = [["a", "b", "a"], [], ["c", "b "], ["\nc", "d", "A"]]
    assert decide(parts, EXACT) == [
        [None, None, "duplicate"],
        [],
        [None, "duplicate"],
        ["duplicate", None, None],
    ]


def test_the_order_of_the_parts_decides_which_one_stays(decide):
    assert decide([["x"], ["x", "y"]], EXACT) == [[None], ["duplicate", None]]
    assert decide([["x", "y"], ["x"]], EXACT) == [[None, None], ["duplicate"]]


@pytest.mark.parametrize("places", [[], [1], [100, 100, 350], list(range(0, 1000, 41))])
def test_any_cut_into_parts_gives_the_same(decide, cut, places):
    draws = random.Random(3)
    texts = [f"text {draws.randrange(400)}" for _ in range(1000)]
    found = decide(cut(texts, places), EXACT)
    assert [cause for part in found for cause in part] == first_of_each(texts)


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_many_partitions_and_chunks_give_the_same(decide, monkeypatch, chunk):
    draws = random.Random(4)
    texts = [f"text {min(draws.randrange(200), 150)}" for _ in range(600)]
    monkeypatch.setattr(spill, "CHUNK_RECORDS", max(chunk, 2))
    assert decide([texts], EXACT)[0] == first_of_each(texts)


def test_no_document_at_all(decide):
    assert decide([], EXACT) == []
    assert decide([[], []], EXACT) == [[], []]


def test_near_copies_stay(decide):
    assert decide([["one two three four five six", "One two three four five six"]], EXACT) == [
        [None, None]
    ]


def test_half_a_hash_is_not_enough(tmp_path):
    hashes = np.array([[7, 1], [7, 2], [8, 1], [7, 1], [8, 1]], np.uint64)
    copies = ExactCopies(tmp_path / "exact", len(hashes))
    copies.add(0, hashes)
    assert [found.tolist() for found in copies.copies(0)] == [[3, 4]]
