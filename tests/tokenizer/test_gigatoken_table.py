"""The table of the code points that two libraries class differently is complete.

After a new version of one of them: python tests/tokenizer/test_gigatoken_table.py
"""

import importlib.util
from importlib.metadata import version

import numpy as np
import pytest
import tokenizers
from tokenizers import Regex, pre_tokenizers

from yxanul.tokenizer.gigatoken import (
    COMPARED,
    PACKAGE,
    load,
    minimal_json,
    unlike_code_points,
)
from yxanul.tokenizer.pre_tokenizers import byte_symbols

SURROGATES = range(0xD800, 0xE000)
CHUNK = 256
needs_package = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="needs gigatoken (extra 'data')"
)


def probe_json():
    """A tokenizer that merges some characters with any byte beside them in the same word, so that
    its ids show where a text was cut."""
    symbols = byte_symbols()
    merges = [(symbols[ord(char)], symbol) for char in "a " for symbol in symbols]
    merges += [(symbol, symbols[ord(char)]) for char in "1!" for symbol in symbols]
    tokens = dict.fromkeys([*symbols, *(a + b for a, b in merges)])
    return minimal_json({"vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges})


def probe(codes):
    """A text that shows the class of each code point: a letter merges with the "a", a number with
    the "1", anything else but white space with the "!". The second copy follows a space."""
    return "".join(f"a{chr(code)}1 {chr(code)}!" for code in codes)


def differing(one, other, codes):
    """The code points that two encoders of the probe class differently."""
    codes = [code for code in codes if code not in SURROGATES]
    chunks = [codes[start : start + CHUNK] for start in range(0, len(codes), CHUNK)]
    found = []
    for chunk, a, b in zip(
        chunks, *(encode(list(map(probe, chunks))) for encode in (one, other)), strict=True
    ):
        if a != b:
            texts = [probe([code]) for code in chunk]
            alone = zip(chunk, one(texts), other(texts), strict=True)
            # If none differs alone, their context does it: then none is trusted.
            found += [code for code, mine, theirs in alone if mine != theirs] or chunk
    return found


def way(content):
    raw = tokenizers.Tokenizer.from_str(content)
    return lambda texts: [encoding.ids for encoding in raw.encode_batch_fast(list(texts))]


def fast_way(content):
    encode = load(content)
    return lambda texts: [encode(text).tolist() for text in texts]


def test_the_probe_finds_every_class():
    """Against a library that takes ½ for a letter, 3 for a sign, _ for white space and \\xa0 for
    a number."""
    raw = tokenizers.Tokenizer.from_str(probe_json())
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
    found = differing(way(probe_json()), way(raw.to_str()), range(0x400))
    assert found == sorted(map(ord, "3_½\xa0"))


def test_the_probe_finds_nothing_between_equals():
    assert differing(way(probe_json()), way(probe_json()), range(0xD000, 0xE100)) == []


@needs_package
def test_the_installed_versions_are_in_the_table():
    for package, versions in COMPARED.items():
        assert version(package) in versions, "compare them: run this file"


@needs_package
@pytest.mark.parametrize("everywhere", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_table_is_what_the_probe_finds(everywhere):
    table = unlike_code_points()
    near = np.unique(np.flatnonzero(table) // CHUNK)
    chunks = range(len(table) // CHUNK) if everywhere else [*range(0x30), *near.tolist()]
    codes = [code for chunk in chunks for code in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
    listed = [code for code in codes if table[code] and code not in SURROGATES]
    assert differing(way(probe_json()), fast_way(probe_json()), codes) == listed
    assert table[SURROGATES.start : SURROGATES.stop].all()


if __name__ == "__main__":
    found = differing(way(probe_json()), fast_way(probe_json()), range(0x110000))
    starts = [code for code in found if code - 1 not in found]
    ends = [code for code in found if code + 1 not in found]
    print({package: version(package) for package in COMPARED})
    print(
        " ".join(f"{a:x}-{b:x}" if a < b else f"{a:x}" for a, b in zip(starts, ends, strict=True))
    )
