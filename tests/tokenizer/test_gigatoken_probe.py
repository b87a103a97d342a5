"""What two libraries see differently is found, and kept where the next process finds it."""

import json

import numpy as np
import pytest
import tokenizers as library
from tokenizers import Regex, pre_tokenizers

from yxanul.tokenizer import gigatoken_probe
from yxanul.tokenizer.gigatoken_probe import Findings, findings_file, probe_json, unlike_code_points


def way(content):
    raw = library.Tokenizer.from_str(content)
    return lambda texts: [encoding.ids for encoding in raw.encode_batch_fast(list(texts))]


def test_the_probe_finds_every_class():
    """Against a library that takes ½ for a letter, 3 for a sign, _ for white space and \\xa0 for
    a number."""
    raw = library.Tokenizer.from_str(probe_json())
    letter, number = r"[\p{L}½]", "(?:[\xa0]|(?![3½])\\p{N})"
    sign, space = r"(?:[^\s_\p{L}\p{N}]|3)", "(?:_|(?!\xa0)\\s)"
    words = rf" ?{letter}+| ?{number}+| ?{sign}+"
    regex = rf"'(?:[sdmt]|ll|ve|re)|{words}|{space}+(?={space}|$)|{space}+"
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(regex), "isolated"),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    found = unlike_code_points(way(probe_json()), way(raw.to_str()), range(0x400))
    assert found == sorted(map(ord, "3_½\xa0"))


def test_the_probe_finds_nothing_between_equals():
    assert unlike_code_points(way(probe_json()), way(probe_json()), range(0xD000, 0xE100)) == []


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    findings_file().parent.mkdir()
    return findings_file()


def table_of(codes):
    return Findings(["numpy"]).code_points(lambda: codes)


def never():
    raise AssertionError("this is known")


def test_findings_are_kept(cache):
    first = table_of([5, 6, 7, 9])
    again = Findings(["numpy"])
    assert np.array_equal(again.code_points(never), first)
    marked = set(np.flatnonzero(first).tolist())
    assert marked == {5, 6, 7, 9, *gigatoken_probe.SURROGATES}
    assert again.are_equal("abc", lambda: True)
    assert not again.are_equal("def", lambda: False)
    third = Findings(["numpy"])
    assert third.are_equal("abc", never)
    assert not third.are_equal("def", lambda: False)


def test_findings_of_other_versions_do_not_count(cache):
    table_of([5])
    stored = json.loads(cache.read_text())
    cache.write_text(json.dumps(stored | {"key": "probe 0"}))
    assert np.flatnonzero(table_of([6]))[0] == 6


BROKEN = ["", "{", "[]", "null", "\xff", "[" * 100_000]
BROKEN += [json.dumps({"unlike": value}) for value in (3, [3], [[1]], [[2, 1]], [["a", "b"]])]
BROKEN += [
    json.dumps({"unlike": value}) for value in ([[0, 0x110000]], [[5, 9], [7, 8]], [[-1, 0]])
]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_only_costs_time(cache, content):
    table_of([])
    key = json.loads(cache.read_text())["key"]
    if content.startswith('{"'):
        content = json.dumps({"key": key, "equal": 3} | json.loads(content))
    cache.write_bytes(content.encode("latin-1"))
    assert np.flatnonzero(table_of([5]))[0] == 5
    assert np.flatnonzero(Findings(["numpy"]).code_points(never))[0] == 5
    assert Findings(["numpy"]).are_equal("abc", lambda: True)


def test_a_place_that_cannot_be_written_only_costs_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert np.flatnonzero(table_of([5]))[0] == 5
