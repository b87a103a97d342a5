"""Comparison of the character classes of two tokenizer libraries, cached on disk.

GPT-2's regex only distinguishes letters, numbers, white space and the rest. Each library has its
own version of the Unicode tables for that. The probe tokenizer reveals the class of every code
point: its vocabulary merges some characters with any neighbouring byte of the same pre-token, so
that the ids show where text was split.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from yxanul.base.cache import cache_folder
from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json, write_json
from yxanul.tokenizer.byte_alphabet import byte_symbols

NUM_CODE_POINTS = 0x110000
SURROGATES = range(0xD800, 0xE000)
_PROBE_VERSION = 1
_CHUNK = 256
_TOKENIZERS_KEPT = 100

Encode = Callable[[Sequence[str]], list[list[int]]]
"""One library's batch encode function: texts to ids."""


def unlike_code_points(
    one: Encode, other: Encode, codes: range = range(NUM_CODE_POINTS)
) -> list[int]:
    """Return the code points that two encoders of `probe_json` class differently."""
    chunks = [codes[start : start + _CHUNK] for start in range(0, len(codes), _CHUNK)]
    chunks = [[code for code in chunk if code not in SURROGATES] for chunk in chunks]
    chunks = [chunk for chunk in chunks if chunk]
    others = [_ids(encode, chunks, _probe_others) for encode in (one, other)]
    # Most code points are of no class: chunks for which both libraries agree on that are done.
    chunks = [
        chunk
        for chunk, mine, theirs in zip(chunks, *others, strict=True)
        if mine != theirs or len(mine) != len("".join(map(chr, chunk)).encode())
    ]
    classes = [_ids(encode, chunks, _probe) for encode in (one, other)]
    rows = zip(chunks, *classes, strict=True)
    unlike = [_unlike_in(chunk, one, other) for chunk, mine, theirs in rows if mine != theirs]
    return [code for codes in unlike for code in codes]


def _unlike_in(chunk: list[int], one: Encode, other: Encode) -> list[int]:
    mine, theirs = (_ids(encode, [[code] for code in chunk], _probe) for encode in (one, other))
    unlike = [code for code, a, b in zip(chunk, mine, theirs, strict=True) if a != b]
    # If none differs alone, the difference comes from their context: then none is trusted.
    return unlike or chunk


def _ids(encode: Encode, chunks: list[list[int]], probe: Callable[[int], str]) -> list[list[int]]:
    return encode(["".join(map(probe, chunk)) for chunk in chunks])


def _probe_others(code: int) -> str:
    """Return text that shows whether a code point is no letter, number or white space.

    It then merges with the "!": a text of such code points has as many ids as it has bytes without
    the "!"s.
    """
    return f"{chr(code)}!"


def _probe(code: int) -> str:
    """Return text that shows the class of a code point.

    A letter merges with the "a", a number with the "1", anything else but white space with the "!".
    The second copy follows a space, as most words do.
    """
    return f"a{chr(code)}1 {chr(code)}!"


def probe_json() -> str:
    """Return the tokenizer.json of the probe."""
    symbols = byte_symbols()
    merges = [(symbols[ord(char)], symbol) for char in "a " for symbol in symbols]
    merges += [(symbol, symbols[ord(char)]) for char in "1!" for symbol in symbols]
    tokens = dict.fromkeys([*symbols, *(a + b for a, b in merges)])
    return minimal_json({"vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges})


def minimal_json(model: dict[str, Any]) -> str:
    """Return the tokenizer.json of a bare byte-level BPE without added tokens."""
    cut = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", **cut},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **cut},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": model["vocab"],
            "merges": model["merges"],
        },
    }
    return json.dumps(content, ensure_ascii=False)


class Findings:
    """Findings about a pair of libraries, cached in the user's cache folder.

    If the file is broken or cannot be written, they are only computed again.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        words = [f"{package} {version(package)}" for package in packages]
        self._key = f"probe {_PROBE_VERSION}, " + ", ".join(words)
        stored = _read(findings_file())
        current = stored.get("key") == self._key
        self._stored: dict[str, Any] = stored if current else {"key": self._key}

    def code_points(self, find: Callable[[], Iterable[int]]) -> np.ndarray:
        """Return a table, bool [NUM_CODE_POINTS]: code points that the libraries class differently,
        and all surrogates."""
        stored = self._stored.get("unlike")
        ranges = stored if _are_ranges(stored) else _to_ranges(find())
        if ranges is not stored:
            self._store("unlike", ranges)
        table = np.zeros(NUM_CODE_POINTS, np.bool_)
        for first, last in [*ranges, (SURROGATES[0], SURROGATES[-1])]:
            table[first : last + 1] = True
        return table

    def are_equal(self, digest: str, compare: Callable[[], bool]) -> bool:
        """Return whether the libraries agree on a vocabulary; call `compare` if not yet known."""
        known = self._stored.get("equal")
        known = known if isinstance(known, list) else []
        if digest not in known:
            if not compare():
                return False
            self._store("equal", [*known[1 - _TOKENIZERS_KEPT :], digest])
        return True

    def _store(self, name: str, value: list[Any]) -> None:
        self._stored[name] = value
        with contextlib.suppress(OSError, YxanulError):
            write_json(findings_file(), self._stored)


def findings_file() -> Path:
    """Return the path of the cached findings."""
    return cache_folder() / "encoding.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        stored = read_json(file)
    except (OSError, YxanulError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _to_ranges(codes: Iterable[int]) -> list[list[int]]:
    """Group increasing numbers into ranges [first, last]."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return ranges


def _are_ranges(value: Any) -> TypeGuard[list[list[int]]]:
    """Return whether a stored value has the form that `_to_ranges` returns."""
    if not isinstance(value, list):
        return False
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        return False
    ends = [end for pair in value for end in pair]
    if not all(type(end) is int and 0 <= end < NUM_CODE_POINTS for end in ends):
        return False
    return all(a <= b for a, b in pairwise(ends))
