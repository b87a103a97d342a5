"""Fast encoding of documents with the package `gigatoken`, if it gives the same ids.

The ids always equal those of the `tokenizers` library. The safeguards:

* Only byte-level BPE with GPT-2's regex and no other processing is eligible.
* Pre-tokenization depends on character classes. Every code point's class is compared between both
  libraries (`gigatoken_probe.py`); a text with one that differs is encoded by `tokenizers`.
* Every token of the vocabulary is encoded by both; any difference disables the fast encoder.
* A text that contains the name of an added token is encoded by `tokenizers`.
* In every call a short sample is encoded by both; a difference is an error.

The checks of classes and tokens are exhaustive. That equal classes and merges always give equal ids
is only tested: on real text, on random text, and in every call.
YXANUL_FAST_ENCODING=0 in the environment disables the fast encoder.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import resource
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import tokenizers as library

from yxanul.base.errors import YxanulError
from yxanul.tokenizer.byte_alphabet import byte_symbols, token_bytes
from yxanul.tokenizer.gigatoken_probe import (
    Encode,
    Findings,
    minimal_json,
    probe_json,
    unlike_code_points,
)

Fast = Callable[[str], np.ndarray]
"""Encodes one text to its ids, uint32 [N]."""

SWITCH = "YXANUL_FAST_ENCODING"
PACKAGE = "gigatoken"
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


def fast_encoder(raw: library.Tokenizer, end_of_text: str, slow: Encode) -> FastEncoder | None:
    """Return a fast encoder with the same ids as `slow`, or None if there is none."""
    if os.environ.get(SWITCH) == "0":
        return None
    settings = json.loads(raw.to_str())
    if not is_plain(settings, end_of_text):
        return None
    content = minimal_json(settings["model"])
    try:
        fast = _load(content)
        findings = Findings(("tokenizers", PACKAGE))
    except Exception:  # absent, too old, or cannot parse the file: each has its own error type
        return None
    unlike = findings.code_points(_find_unlike)
    if unlike[:128].any():  # nearly every text would contain one
        return None
    digest = hashlib.sha256(content.encode()).hexdigest()
    tokens = settings["model"]["vocab"]
    if not findings.are_equal(digest, lambda: _agree_on_tokens(content, tokens)):
        return None
    names = [token.content for token in raw.get_added_tokens_decoder().values()]
    return FastEncoder(fast, slow, names, unlike, lambda: _load(content))


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
        fast: Fast,
        slow: Encode,
        names: Iterable[str],
        unlike: np.ndarray,
        renew: Callable[[], Fast],
    ) -> None:
        """`unlike` is a bool table of code points; `renew` returns `fast` with empty caches."""
        self._fast, self._slow, self._renew = fast, slow, renew
        self._names = sorted(set(names))
        self._starts = sorted({name[:2] for name in self._names})
        self._unlike = unlike
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
            raise _disagreement(text)

    def _limit_memory(self, chars: int) -> None:
        """Recreate the fast encoder when the package's unbounded cache of words became large."""
        self._chars += chars
        if self._chars > _CHARS_BETWEEN and _resident_bytes() - self._held > _GROWTH_BYTES:
            del self._fast  # free the old cache before building a new one
            self._fast, self._chars = self._renew(), 0
            self._held = _resident_bytes()


def _load(content: str) -> Fast:
    """Return the fast package's encode function for a tokenizer.json."""
    package: Any = importlib.import_module(f"{PACKAGE}.gigatoken_rs")
    return package.load_hf_json(content).encode


def _both(content: str) -> tuple[Encode, Encode]:
    """Return the batch encode functions of the library and of the fast package."""
    raw, encode = library.Tokenizer.from_str(content), _load(content)

    def slow(texts: Sequence[str]) -> list[list[int]]:
        encodings = raw.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    return slow, lambda texts: [encode(text).tolist() for text in texts]


def _find_unlike() -> list[int]:
    """Return the code points that the libraries class differently; takes seconds."""
    return unlike_code_points(*_both(probe_json()))


def _agree_on_tokens(content: str, tokens: Iterable[str]) -> bool:
    """Return whether both libraries give the same ids for the text of every token."""
    texts: list[str] = []
    for token in tokens:
        with contextlib.suppress(UnicodeDecodeError):  # part of a character is not valid UTF-8
            texts.append(token_bytes(token).decode())
    slow, fast = _both(content)
    return slow(texts) == fast(texts)


def _disagreement(text: str) -> YxanulError:
    return YxanulError(
        f"the package {PACKAGE} gives different token ids than tokenizers",
        got=f"{PACKAGE} {version(PACKAGE)}, tokenizers {version('tokenizers')}, for {text[:60]!a}",
        hint=f"set {SWITCH}=0 in the environment to encode with tokenizers only",
    )


def _resident_bytes() -> int:
    """Return the resident memory of this process, or its peak where /proc is missing."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
