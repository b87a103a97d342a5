"""What two tokenizer libraries see differently: found by asking both, and kept on the disk.

GPT-2's way of cutting text looks at a character in three ways only: is it a letter, a number,
white space? Each library has its own edition of the Unicode tables for that. The probe below shows
the class of every code point that there is: its vocabulary joins some signs with whatever byte
stands next to them in the same piece, so that ids tell where text was cut.
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
"""One library's way from texts to ids."""


def unlike_code_points(
    one: Encode, other: Encode, codes: range = range(NUM_CODE_POINTS)
) -> list[int]:
    """Return the code points that two libraries class differently; both have `probe_json`."""
    chunks = [codes[start : start + _CHUNK] for start in range(0, len(codes), _CHUNK)]
    chunks = [[code for code in chunk if code not in SURROGATES] for chunk in chunks]
    chunks = [chunk for chunk in chunks if chunk]
    signs = [_ids(encode, chunks, _probe_signs) for encode in (one, other)]
    # Most code points are none: where both libraries say so of a whole chunk, that is settled.
    chunks = [
        chunk
        for chunk, mine, theirs in zip(chunks, *signs, strict=True)
        if mine != theirs or len(mine) != len("".join(map(chr, chunk)).encode())
    ]
    classes = [_ids(encode, chunks, _probe) for encode in (one, other)]
    rows = zip(chunks, *classes, strict=True)
    unlike = [_unlike_in(chunk, one, other) for chunk, mine, theirs in rows if mine != theirs]
    return [code for codes in unlike for code in codes]


def _unlike_in(chunk: list[int], one: Encode, other: Encode) -> list[int]:
    mine, theirs = (_ids(encode, [[code] for code in chunk], _probe) for encode in (one, other))
    unlike = [code for code, a, b in zip(chunk, mine, theirs, strict=True) if a != b]
    # If none differs alone, it is their company: then none of them is trusted.
    return unlike or chunk


def _ids(encode: Encode, chunks: list[list[int]], probe: Callable[[int], str]) -> list[list[int]]:
    return encode(["".join(map(probe, chunk)) for chunk in chunks])


def _probe_signs(code: int) -> str:
    """Show whether a code point is none of letter, number and white space: it joins the "!"; the
    ids of a text of such code points are as many as the bytes without the "!"s."""
    return f"{chr(code)}!"


def _probe(code: int) -> str:
    """Show the class of a code point: a letter joins the "a", a number the "1", anything else but
    white space the "!"; the second one stands behind a space, as most words do."""
    return f"a{chr(code)}1 {chr(code)}!"


def probe_json() -> str:
    """Return the tokenizer.json of the probe."""
    symbols = byte_symbols()
    merges = [(symbols[ord(sign)], symbol) for sign in "a " for symbol in symbols]
    merges += [(symbol, symbols[ord(sign)]) for sign in "1!" for symbol in symbols]
    tokens = dict.fromkeys([*symbols, *(a + b for a, b in merges)])
    return minimal_json({"vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges})


def minimal_json(model: dict[str, Any]) -> str:
    """Return the tokenizer.json of a byte-level BPE and nothing else: no tokens added to it."""
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
    """What is known of a pair of libraries, kept in the user's cache folder.

    A file that is broken, or cannot be written, only costs finding it out again.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        words = [f"{package} {version(package)}" for package in packages]
        self._key = f"probe {_PROBE_VERSION}, " + ", ".join(words)
        stored = _read(findings_file())
        current = stored.get("key") == self._key
        self._stored: dict[str, Any] = stored if current else {"key": self._key}

    def code_points(self, find: Callable[[], Iterable[int]]) -> np.ndarray:
        """Return a table, bool [NUM_CODE_POINTS], of what the libraries class differently, broken
        halves of surrogate pairs too."""
        stored = self._stored.get("unlike")
        ranges = stored if _are_ranges(stored) else _to_ranges(find())
        if ranges is not stored:
            self._store("unlike", ranges)
        table = np.zeros(NUM_CODE_POINTS, np.bool_)
        for first, last in [*ranges, (SURROGATES[0], SURROGATES[-1])]:
            table[first : last + 1] = True
        return table

    def are_equal(self, digest: str, compare: Callable[[], bool]) -> bool:
        """Tell whether the libraries agree on a vocabulary, which `compare` finds out."""
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
    """Return where findings are kept."""
    return cache_folder() / "encoding.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        stored = read_json(file)
    except (OSError, YxanulError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _to_ranges(codes: Iterable[int]) -> list[list[int]]:
    """Return rising numbers as ranges [first, last]."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return ranges


def _are_ranges(value: Any) -> TypeGuard[list[list[int]]]:
    """Tell whether a stored value is what `_to_ranges` gives."""
    if not isinstance(value, list):
        return False
    if not all(isinstance(one, list) and len(one) == 2 for one in value):
        return False
    ends = [end for one in value for end in one]
    if not all(type(end) is int and 0 <= end < NUM_CODE_POINTS for end in ends):
        return False
    return all(a <= b for a, b in pairwise(ends))
