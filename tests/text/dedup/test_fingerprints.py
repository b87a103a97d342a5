import hashlib
import multiprocessing
import sys

import numpy as np
import pytest

from yxanul.base.errors import YxanulError
from yxanul.text.dedup.config import DeduplicateSettings, NearSettings
from yxanul.text.dedup.fingerprints import (
    FingerprintFile,
    fingerprints_key,
    write_fingerprints,
)

EXACT = DeduplicateSettings()
NEAR = DeduplicateSettings(exact=False, near=NearSettings())
BOTH = DeduplicateSettings(near=NearSettings())
TEXTS = ["the quick brown fox jumps over the lazy dog", "short", "Привет, мир " * 9, "\ud800", ""]


def rows_of(path, settings):
    return np.concatenate(list(FingerprintFile(path, settings).chunks()))


@pytest.mark.parametrize("settings", [EXACT, NEAR, BOTH])
def test_a_row_for_each_text_in_order(tmp_path, settings):
    texts = [f"text number {number} of a few" for number in range(3000)]
    path = tmp_path / "part.bin"
    assert write_fingerprints(iter(texts), settings, path) == 3000
    file = FingerprintFile(path, settings)
    rows = rows_of(path, settings)
    assert file.count == len(rows) == 3000
    for number in (0, 1023, 1024, 2999):
        single = tmp_path / "single.bin"
        write_fingerprints([texts[number]], settings, single)
        assert rows_of(single, settings)[0] == rows[number]


def test_signatures_of_some_rows(tmp_path, some_words):
    path = tmp_path / "part.bin"
    write_fingerprints((" ".join(some_words(40)) for _ in range(50)), BOTH, path)
    file = FingerprintFile(path, BOTH)
    rows = np.array([3, 17, 49])
    assert np.array_equal(file.read_signatures(rows), rows_of(path, BOTH)["signature"][rows])


def test_the_text_hash_ignores_white_space_at_the_ends_only(tmp_path):
    texts = ["a b", " a b\n", "a  b", "A b", "a b."]
    write_fingerprints(texts, EXACT, tmp_path / "part.bin")
    hashes = rows_of(tmp_path / "part.bin", EXACT)["text"].tolist()
    assert hashes[0] == hashes[1]
    assert len({tuple(one) for one in hashes}) == 4


def test_no_documents(tmp_path):
    path = tmp_path / "part.bin"
    assert write_fingerprints([], BOTH, path) == 0
    assert list(FingerprintFile(path, BOTH).chunks()) == []


def test_the_same_on_every_machine(tmp_path):
    """Should these digests change, signatures on disk cannot be compared with new ones."""
    path = tmp_path / "part.bin"
    write_fingerprints(TEXTS, BOTH, path)
    rows = rows_of(path, BOTH)
    assert rows["ngrams"].tolist() == [5, 0, 14, 0, 0]
    assert not rows["signature"][1].any()
    assert hashlib.sha256(rows["text"].tobytes()).hexdigest()[:16] == "df0ac0d9e0061708"
    assert hashlib.sha256(rows["signature"].tobytes()).hexdigest()[:16] == "4f748fd2ca9a5bed"


def test_the_same_in_another_process(tmp_path):
    write_fingerprints(TEXTS, BOTH, tmp_path / "here.bin")
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=write_fingerprints, args=(TEXTS, BOTH, tmp_path / "there"))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here.bin").read_bytes()


def test_a_failure_leaves_no_file(tmp_path):
    def texts():
        yield "one"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_fingerprints(texts(), EXACT, tmp_path / "part.bin")
    assert list(tmp_path.iterdir()) == []


def test_the_key_changes_with_what_determines_the_rows():
    same = DeduplicateSettings(near=NearSettings(threshold=0.5))
    assert fingerprints_key(same) == fingerprints_key(BOTH)
    others = (NearSettings(ngram=6), NearSettings(permutations=64))
    for other in (EXACT, NEAR, *(DeduplicateSettings(near=near) for near in others)):
        assert fingerprints_key(other) != fingerprints_key(BOTH)


def test_a_file_that_is_cut(tmp_path):
    path = tmp_path / "part.bin"
    write_fingerprints(TEXTS, EXACT, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(YxanulError, match="incomplete"):
        FingerprintFile(path, EXACT)


def test_near_needs_the_library_and_exact_does_not(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rensa", None)
    write_fingerprints(TEXTS, EXACT, tmp_path / "part.bin")
    with pytest.raises(YxanulError, match=r"'rensa' is not installed.*yxanul\[data\]"):
        write_fingerprints(TEXTS, NEAR, tmp_path / "near.bin")
