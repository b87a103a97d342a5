"""Fast encoding of documents with the package `gigatoken`, if it gives the same ids.

The ids always equal those of the `tokenizers` library. The safeguards:

* Only byte-level BPE with GPT-2's regex and no other processing is eligible.
* GPT-2's regex distinguishes letters, numbers, white space and the rest, by each library's own
  Unicode tables. The class of every code point was compared for the versions in COMPARED; a text
  with one that differs is encoded by `tokenizers`, and with other versions every text is.
* Every token of the vocabulary is encoded by both; any difference disables the fast encoder.
* A text that contains the name of an added token is encoded by `tokenizers`.
* In every call a short sample is encoded by both; a difference is an error.

The comparisons of classes and tokens are exhaustive. That equal classes and merges always give
equal ids is only tested: on real text, on random text, and in every call.
YXANUL_FAST_ENCODING=0 in the environment disables the fast encoder.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import resource
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import tokenizers

from yxanul.base.cache import cache_folder
from yxanul.base.errors import YxanulError
from yxanul.tokenizer.pre_tokenizers import byte_symbols, token_bytes

Encode = Callable[[Sequence[str]], list[list[int]]]
"""One library's batch encode function: texts to ids."""
Fast = Callable[[str], np.ndarray]
"""Encodes one text to its ids, uint32 [N]."""

SWITCH = "YXANUL_FAST_ENCODING"
PACKAGE = "gigatoken"
COMPARED = {
    PACKAGE: ("0.10.0",),
    "tokenizers": ("0.22.0", "0.22.1", "0.22.2", "0.23.1", "0.23.2", "0.23.3"),
}
"""Versions whose classes were compared (tests/tokenizer/test_gigatoken_table.py)."""
UNLIKE = (
    "88f c5c cdc a7ce-a7cf a7d2 a7d4 a7f1 d800-dfff 10940-10959 10ec5-10ec7 11db0-11ddb"
    " 11de0-11de9 16ea0-16eb8 16ebb-16ed3 16ff2-16ff6 187f8-187ff 18d09-18d1e 18d80-18df2"
    " 1e6c0-1e6de 1e6e0-1e6e2 1e6e4-1e6e5 1e6e7-1e6ed 1e6f0-1e6f4 1e6fe-1e6ff 2b73a-2b73f"
    " 2cea2-2cead 323b0-33479"
)
"""The code points that they class differently, all newer than Unicode 14, and the surrogates."""
_PRE_TOKENIZER = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_MODEL = {
    "type": (("BPE",), None),
    "dropout": ((None,), None),
    "unk_token": ((None,), None),
    "continuing_subword_prefix": ((None, ""), None),
    "end_of_word_suffix": ((None, ""), None),
    "byte_fallback": ((False,), False),
    "ignore_merges": ((False,), False),
}
"""The allowed values of each model setting, and its value if absent."""
_SPOT_CHARS = 1000
_STRIDE = 0x9E3779B1
"""Step of the spot-check position, modulo 2**32; odd, so that it reaches every position."""
_GROWTH_BYTES = 256 << 20
_CHARS_BETWEEN = 32 << 20
_EMPTY = np.zeros(0, np.uint32)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def fast_encoder(raw: tokenizers.Tokenizer, end_of_text: str, slow: Encode) -> FastEncoder | None:
    """Return a fast encoder with the same ids as `slow`, or None if there is none."""
    if os.environ.get(SWITCH) == "0":
        return None
    settings = json.loads(raw.to_str())
    if not is_plain(settings, end_of_text):
        return None
    installed = _installed()
    if not installed or not _are_compared(installed):
        return None
    content = minimal_json(settings["model"])
    names = {token.content for token in raw.get_added_tokens_decoder().values()}
    try:
        encoder = FastEncoder(lambda: load(content), slow, names, unlike_code_points())
    except Exception:  # cannot be imported, or cannot parse the file: each has its own error type
        return None
    return (
        encoder if _agree(encoder, f"{installed} {content}", settings["model"]["vocab"]) else None
    )


def warning() -> str | None:
    """Return a warning if text is encoded slowly only for want of a comparison of the versions."""
    installed = _installed()
    if os.environ.get(SWITCH) == "0" or _are_compared(installed):
        return None
    names = " and ".join(f"{package} {number}" for package, number in installed.items())
    known = ", ".join(f"{package} {numbers[-1]}" for package, numbers in COMPARED.items())
    return f"{names} were never compared: text is encoded slowly; known to agree: {known}"


def _installed() -> dict[str, str]:
    """Return the versions of both packages; nothing without the fast one."""
    try:
        return {package: version(package) for package in COMPARED}
    except PackageNotFoundError:
        return {}


def _are_compared(installed: Mapping[str, str]) -> bool:
    return all(number in COMPARED[package] for package, number in installed.items())


def unlike_code_points() -> np.ndarray:
    """Return the table, bool [0x110000], of the code points in UNLIKE."""
    table = np.zeros(0x110000, np.bool_)
    for word in UNLIKE.split():
        first, _, last = word.partition("-")
        table[int(first, 16) : int(last or first, 16) + 1] = True
    return table


def is_plain(content: dict[str, Any], end_of_text: str) -> bool:
    """Return whether a tokenizer.json is a byte-level BPE with GPT-2's regex and nothing else."""
    model, pre_tokenizer = content["model"], content.get("pre_tokenizer") or {}
    settings = {name: model.get(name, missing) for name, (_, missing) in _MODEL.items()}
    if any(settings[name] not in allowed for name, (allowed, _) in _MODEL.items()):
        return False
    if content.get("normalizer") is not None or not set(byte_symbols()) <= model["vocab"].keys():
        return False
    if {name: pre_tokenizer.get(name) for name in _PRE_TOKENIZER} != _PRE_TOKENIZER:
        return False
    # Else the model could give this id for text that does not contain the name.
    return end_of_text not in model["vocab"] or token_bytes(end_of_text) == end_of_text.encode()


class FastEncoder:
    """Encoder that uses the fast package for texts where it is safe, else the library."""

    def __init__(
        self,
        load: Callable[[], Fast],
        slow: Encode,
        names: Collection[str],
        unlike: np.ndarray,
    ) -> None:
        """`load` returns the fast package's function with empty caches; `names` are those of added
        tokens, and `unlike` is a bool table of code points."""
        self._fast, self._load, self._slow = load(), load, slow
        self._names, self._unlike = names, unlike
        self._starts = {name[:2] for name in names}
        self._spot = self._chars = 0
        self._held = _resident_bytes()

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text, uint32, without an end of text."""
        self._limit_memory(sum(map(len, texts)))
        unsafe = self._for_the_library(texts)
        rows = [_EMPTY if i in unsafe else self._fast(text) for i, text in enumerate(texts)]
        slow = sorted(unsafe)
        for i, row in zip(slow, self._slow([texts[i] for i in slow]), strict=True):
            rows[i] = np.asarray(row, np.uint32)
        self._check_spot(texts, rows, [i for i in range(len(texts)) if i not in unsafe])
        return rows

    def agrees(self, texts: Sequence[str]) -> bool:
        """Return whether both encode all texts without the name of an added token alike."""
        texts = [text for text in texts if not any(name in text for name in self._names)]
        return [self._fast(text).tolist() for text in texts] == self._slow(texts)

    def _for_the_library(self, texts: Sequence[str]) -> set[int]:
        """Return the indices of texts with a code point or name that needs the library."""
        suspects = [i for i, text in enumerate(texts) if not text.isascii()]
        if not self._is_unlike("".join([texts[i] for i in suspects])):
            suspects = []
        unsafe = {i for i in suspects if self._is_unlike(texts[i])}
        for i, text in enumerate(texts):
            # Names share their first characters: one search rules out most texts.
            if any(start in text for start in self._starts):
                unsafe.update([i] * any(name in text for name in self._names))
        return unsafe

    def _is_unlike(self, text: str) -> bool:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        return bool(self._unlike[codes].any())

    def _check_spot(
        self, texts: Sequence[str], rows: Sequence[np.ndarray], indices: Sequence[int]
    ) -> None:
        """Encode one of the texts, or a chunk of a long one, with both; raise if they differ."""
        if not indices:
            return
        self._spot = (self._spot + _STRIDE) % (1 << 32)
        index = indices[self._spot * len(indices) >> 32]
        text, row = texts[index], rows[index]
        if len(text) > 2 * _SPOT_CHARS:
            start = self._spot * (len(text) - _SPOT_CHARS) >> 32
            text = text[start : start + _SPOT_CHARS]
            row = self._fast(text)
        if row.tolist() != self._slow([text])[0]:
            versions = f"{PACKAGE} {version(PACKAGE)}, tokenizers {version('tokenizers')}"
            raise YxanulError(
                f"the package {PACKAGE} gives different token ids than tokenizers",
                got=f"{versions}, for {text[:60]!a}",
                hint=f"set {SWITCH}=0 in the environment to encode with tokenizers only",
            )

    def _limit_memory(self, chars: int) -> None:
        """Recreate the fast encoder when the package's unbounded cache of words became large."""
        self._chars += chars
        if self._chars > _CHARS_BETWEEN and _resident_bytes() - self._held > _GROWTH_BYTES:
            del self._fast  # free the old cache before building a new one
            self._fast, self._chars = self._load(), 0
            self._held = _resident_bytes()


def load(content: str) -> Fast:
    """Return the fast package's encode function for a tokenizer.json."""
    package: Any = importlib.import_module(f"{PACKAGE}.gigatoken_rs")
    return package.load_hf_json(content).encode


def minimal_json(model: dict[str, Any]) -> str:
    """Return the tokenizer.json of a bare byte-level BPE without added tokens."""
    bare = {name: missing for name, (_, missing) in _MODEL.items()}
    kept = {"type": "BPE", "fuse_unk": False, "vocab": model["vocab"], "merges": model["merges"]}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {**_PRE_TOKENIZER, "trim_offsets": True},
        "post_processor": None,
        "decoder": {**_PRE_TOKENIZER, "trim_offsets": True},
        "model": {**bare, **kept},
    }
    return json.dumps(content, ensure_ascii=False)


def _agree(encoder: FastEncoder, key: str, tokens: Iterable[str]) -> bool:
    """Return whether both libraries give the same ids for the text of every token.

    If so, an empty file in the user's cache says it for `key`, so that worker processes need not
    compare.
    """
    mark = cache_folder() / "encoding" / hashlib.sha256(key.encode()).hexdigest()
    if mark.exists():
        return True
    texts: list[str] = []
    for token in tokens:
        with contextlib.suppress(UnicodeDecodeError):  # part of a character is not valid UTF-8
            texts.append(token_bytes(token).decode())
    if not encoder.agrees(texts):
        return False
    with contextlib.suppress(OSError):  # it only costs time
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    return True


def _resident_bytes() -> int:
    """Return the resident memory of this process, or its peak where /proc is missing."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
