import itertools
import random

import numpy as np
import pytest

from yxanul.text.dedup import near, spill
from yxanul.text.dedup.config import DeduplicateSettings, NearSettings
from yxanul.text.dedup.minhash import ngram_hashes, signatures
from yxanul.text.dedup.near import NearCopies, bands_and_rows

NEAR = DeduplicateSettings(near=NearSettings())


def jaccard(left, right, ngram=5):
    a, b = (
        {tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1)}
        for words in (left, right)
    )
    return len(a & b) / len(a | b)


def by_brute_force(texts, settings):
    """Decide with nothing but the signatures: compare all pairs, join what is near."""
    own = settings.near
    numbers = [ngram_hashes(text, own.ngram) for text in texts]
    signed = signatures(numbers, own.permutations)
    bands, rows = bands_and_rows(own.threshold, own.permutations)
    parents = list(range(len(texts)))

    def root(one):
        while parents[one] != one:
            one = parents[one]
        return one

    causes = [None] * len(texts)
    for number, text in enumerate(texts):
        if text.strip() in {other.strip() for other in texts[:number]}:
            causes[number] = "duplicate"
    alive = [n for n in range(len(texts)) if not causes[n] and len(numbers[n])]
    for a, b in itertools.combinations(alive, 2):
        equal = signed[a] == signed[b]
        shares_a_band = equal[: bands * rows].reshape(bands, rows).all(axis=1).any()
        if shares_a_band and equal.mean() >= own.threshold:
            low, high = sorted((root(a), root(b)))
            parents[high] = low
    return [cause or ("near_duplicate" if root(n) != n else None) for n, cause in enumerate(causes)]


@pytest.fixture
def corpus(some_words, with_changed_run):
    """Families of near copies of many degrees, in a mixed order, with some exact copies."""
    documents = []
    for family in range(60):
        words = some_words(40 + 5 * family)
        documents.append(words)
        for _ in range(family % 5):
            words = with_changed_run(words, (family % 7) * 0.01)
            documents.append(words)
    random.Random(5).shuffle(documents)
    return [" ".join(words) for words in documents]


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_as_brute_force_does(decide, corpus, threshold):
    settings = DeduplicateSettings(near=NearSettings(threshold=threshold))
    wanted = by_brute_force(corpus, settings)
    assert wanted.count("near_duplicate") > 5
    assert wanted.count("duplicate") > 2
    assert decide([corpus], settings)[0] == wanted


@pytest.mark.parametrize("places", [[1], [20, 20, 90], list(range(0, 180, 9))])
def test_any_cut_into_parts_gives_the_same(decide, corpus, cut, places):
    found = decide(cut(corpus, places), NEAR)
    assert [cause for part in found for cause in part] == by_brute_force(corpus, NEAR)


@pytest.mark.parametrize(("chunk", "window"), [(3, 16), (40, 1)])
def test_many_partitions_and_chunks_give_the_same(decide, corpus, monkeypatch, chunk, window):
    settings = DeduplicateSettings(near=NearSettings(threshold=0.5, permutations=32))
    texts = corpus + [text + " and the end" for text in corpus]
    monkeypatch.setattr(near, "_WINDOW", window)
    at_once = decide([texts], settings)
    monkeypatch.setattr(spill, "CHUNK_RECORDS", chunk)
    monkeypatch.setattr(near, "_PAIRS_AT_ONCE", 3)
    assert decide([texts], settings) == at_once


def test_case_and_punctuation_make_a_near_copy_and_the_first_stays(decide):
    texts = ["one two three four five six", "One, two, three: four five six!", "one two three"]
    assert decide([texts], NEAR) == [[None, "near_duplicate", None]]
    assert decide([texts[1:], texts[:1]], NEAR) == [[None, None], ["near_duplicate"]]


def test_short_documents_are_compared_exactly_only(decide):
    texts = ["one two three", "One two three", "one two three ", "", "  "]
    assert decide([texts], NEAR) == [[None, None, "duplicate", None, "duplicate"]]


def test_near_without_exact_finds_equal_texts_too(decide):
    settings = DeduplicateSettings(exact=False, near=NearSettings())
    text = "one two three four five six"
    assert decide([[text, text, "short", "short"]], settings) == [
        [None, "near_duplicate", None, None]
    ]


def test_a_chain_hangs_together_and_its_first_stays(decide, some_words):
    words = some_words(200 + 5 * 8)
    links = [" ".join(words[start : start + 200]) for start in range(0, 48, 8)]
    ends = links[0].split(), links[-1].split()
    assert jaccard(links[0].split(), links[1].split()) > 0.9
    assert jaccard(*ends) < 0.7
    assert decide([links], NEAR) == [[None] + ["near_duplicate"] * 5]
    assert decide([[links[0], links[-1]]], NEAR) == [[None, None]]
    assert decide([links[::-1]], NEAR) == [[None] + ["near_duplicate"] * 5]


def test_a_run_of_5_percent_changed_words_is_found_and_the_unrelated_stay(
    decide, some_words, with_changed_run
):
    originals = [some_words(200) for _ in range(300)]
    changed = [with_changed_run(words, 0.05) for words in originals]
    texts = [" ".join(words) for words in originals + changed]
    found = decide([texts], NEAR)[0]
    assert not any(found[:300])
    assert found[300:].count("near_duplicate") >= 295


def test_precision_and_recall_against_true_jaccard(decide, some_words, with_changed_run):
    originals = [some_words(300) for _ in range(500)]
    changed = [
        with_changed_run(words, 0.3 * number / 500) for number, words in enumerate(originals)
    ]
    texts = [" ".join(words) for words in originals + changed]
    dropped = np.array([cause is not None for cause in decide([texts], NEAR)[0]])
    true = np.array([jaccard(a, b) for a, b in zip(originals, changed, strict=True)])
    assert not dropped[:500].any()
    dropped = dropped[500:]
    assert (true < 0.6).sum() > 50 < (true >= 0.9).sum()
    assert dropped[true >= 0.9].mean() >= 0.97
    assert dropped[true >= 0.85].mean() >= 0.93
    assert not dropped[true < 0.65].any()
    assert true[dropped].mean() > 0.8


def test_the_estimate_is_close_to_the_truth(some_words, with_changed_run):
    errors = []
    for number in range(400):
        words = some_words(20 + number)
        other = with_changed_run(words, number % 10 / 20)
        texts = " ".join(words), " ".join(other)
        a, b = signatures([ngram_hashes(text, 5) for text in texts], 128)
        errors.append((a == b).mean() - jaccard(words, other))
    assert abs(np.mean(errors)) < 0.006
    assert np.sqrt(np.mean(np.square(errors))) < 0.045


@pytest.mark.parametrize("permutations", [16, 32, 100, 128, 256])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_find_what_is_at_the_threshold(threshold, permutations):
    bands, rows = bands_and_rows(threshold, permutations)
    assert bands * rows <= permutations
    assert 1 - (1 - threshold**rows) ** bands >= 0.9
    assert (
        rows == permutations
        or 1 - (1 - threshold ** (rows + 1)) ** (permutations // (rows + 1)) < 0.9
    )


def test_the_usual_bands():
    assert bands_and_rows(0.8, 128) == (16, 8)


@pytest.mark.parametrize("chunk", [2, 7, 50, 1000])
def test_each_pair_within_a_window_is_a_candidate_once(tmp_path, monkeypatch, chunk):
    """Groups of equal bands are far larger than a window and than a chunk."""
    monkeypatch.setattr(spill, "CHUNK_RECORDS", chunk)
    monkeypatch.setattr(near, "_WINDOW", 4)
    draws = np.random.default_rng(1)
    settings = NearSettings(permutations=16, threshold=1)
    signed = np.repeat(draws.integers(0, 5, (200, 1), np.uint32), 16, axis=1)
    ngrams = draws.integers(0, 10, 200)
    gone = draws.integers(0, 5, 200) == 0
    copies = NearCopies(tmp_path / "near", 200, settings)
    copies.add(0, ngrams[:90], signed[:90])
    copies.add(90, ngrams[90:], signed[90:])
    found = []
    for partition in range(copies.partitions):
        for left, right in copies._candidates(partition, gone):
            found += zip(left.tolist(), right.tolist(), strict=True)
    wanted = []
    for value in range(5):
        group = np.flatnonzero((signed[:, 0] == value) & (ngrams > 0) & ~gone).tolist()
        wanted += [(a, b) for i, a in enumerate(group) for b in group[i + 1 : i + 5]]
    assert sorted(found) == sorted(wanted)
