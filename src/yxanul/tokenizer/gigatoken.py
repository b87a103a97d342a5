"""A faster way to the ids of documents: the package `gigatoken`, where it gives the same ids.

The ids are those of the `tokenizers` library, always. What makes sure of it:

* Only byte-level BPE that cuts text with GPT-2's regex and does nothing else takes part.
* The cut depends on the classes of characters. Every code point's class is asked of both libraries
  (`fast_probe.py`); a text with one that they see differently goes to `tokenizers`.
* Every token of the vocabulary is encoded as a text by both; if one differs, nothing is fast.
* A text that holds the name of an added token goes to `tokenizers`, which knows what to do with it.
* In every call a small piece of text is encoded by both; a difference is an error.

The classes and the tokens are exhaustive; that the same classes and merges always lead to the same
ids is tested only: on real text, on random text, and in every call.
YXANUL_FAST_ENCODING=0 in the environment leaves everything to `tokenizers`.
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
"""From one text to its ids, uint32."""

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
"""What the settings of a model may be, and what they are where they are left out."""
_SPOT_CHARS = 1000
_STRIDE = 0x9E3779B1
"""Steps of the spot checks through a text: odd, so that they come everywhere."""
_GROWTH_BYTES = 256 << 20
_CHARS_BETWEEN = 32 << 20
_EMPTY = np.zeros(0, np.uint32)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def fast_encoder(raw: library.Tokenizer, end_of_text: str, slow: Encode) -> FastEncoder | None:
    """Return a faster way to the same ids as `slow` gives, or None where there is none."""
    if os.environ.get(SWITCH) == "0":
        return None
    settings = json.loads(raw.to_str())
    if not is_plain(settings, end_of_text):
        return None
    content = minimal_json(settings["model"])
    try:
        fast = _load(content)
        findings = Findings(("tokenizers", PACKAGE))
    except Exception:  # absent, too old, or it cannot read the file: each has its own error
        return None
    unlike = findings.code_points(_find_unlike)
    if unlike[:128].any():  # nearly every text would hold one
        return None
    digest = hashlib.sha256(content.encode()).hexdigest()
    tokens = settings["model"]["vocab"]
    if not findings.are_equal(digest, lambda: _agree_on_tokens(content, tokens)):
        return None
    names = [token.content for token in raw.get_added_tokens_decoder().values()]
    return FastEncoder(fast, slow, names, unlike, lambda: _load(content))


def is_plain(content: dict[str, Any], end_of_text: str) -> bool:
    """Tell whether a tokenizer.json is a byte-level BPE behind GPT-2's regex, and nothing else."""
    model, cut = content["model"], content.get("pre_tokenizer") or {}
    settings = {name: model.get(name, missing) for name, (_, missing) in _MODEL.items()}
    if any(settings[name] not in allowed for name, (allowed, _) in _MODEL.items()):
        return False
    if content.get("normalizer") is not None or not set(byte_symbols()) <= model["vocab"].keys():
        return False
    if {name: cut.get(name) for name in _PRE_TOKENIZER} != _PRE_TOKENIZER:
        return False
    # Then the model gives this id for a text that holds the name, and for no other one.
    return end_of_text not in model["vocab"] or token_bytes(end_of_text) == end_of_text.encode()


class FastEncoder:
    """Encodes what is safe with the fast package, the rest with the library."""

    def __init__(
        self,
        fast: Fast,
        slow: Encode,
        names: Iterable[str],
        unlike: np.ndarray,
        renew: Callable[[], Fast],
    ) -> None:
        """`unlike` is a table of code points; `renew` gives `fast` as it was at first."""
        self._fast, self._slow, self._renew = fast, slow, renew
        self._names = sorted(set(names))
        self._starts = sorted({name[:2] for name in self._names})
        self._unlike = unlike
        self._spot = self._chars = 0
        self._held = _resident_bytes()

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text, uint32, without an end of text."""
        self._limit_memory(sum(map(len, texts)))
        slow = self._for_the_library(texts)
        rows = [_EMPTY if place in slow else self._fast(text) for place, text in enumerate(texts)]
        places = sorted(slow)
        for place, row in zip(places, self._slow([texts[p] for p in places]), strict=True):
            rows[place] = np.asarray(row, np.uint32)
        self._check_spot(texts, rows, [p for p in range(len(texts)) if p not in slow])
        return rows

    def _for_the_library(self, texts: Sequence[str]) -> set[int]:
        """Return the places of texts that hold a code point or a name that needs the library."""
        foreign = [place for place, text in enumerate(texts) if not text.isascii()]
        if not self._is_unlike("".join([texts[place] for place in foreign])):
            foreign = []
        found = {place for place in foreign if self._is_unlike(texts[place])}
        for place, text in enumerate(texts):
            # Names begin alike: most texts are through after one search.
            if any(start in text for start in self._starts):
                found.update([place] * any(name in text for name in self._names))
        return found

    def _is_unlike(self, text: str) -> bool:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        return bool(self._unlike[codes].any())

    def _check_spot(
        self, texts: Sequence[str], rows: Sequence[np.ndarray], places: Sequence[int]
    ) -> None:
        """Encode one short text, or a piece of a long one, in both ways."""
        if not places:
            return
        self._spot = (self._spot + _STRIDE) % (1 << 32)
        place = places[self._spot * len(places) >> 32]
        text, row = texts[place], rows[place]
        if len(text) > 2 * _SPOT_CHARS:
            start = self._spot * (len(text) - _SPOT_CHARS) >> 32
            text = text[start : start + _SPOT_CHARS]
            row = self._fast(text)
        if row.tolist() != self._slow([text])[0]:
            raise _disagreement(text)

    def _limit_memory(self, chars: int) -> None:
        """Start anew when the package's memory of words, which has no bound, became large."""
        self._chars += chars
        if self._chars > _CHARS_BETWEEN and _resident_bytes() - self._held > _GROWTH_BYTES:
            del self._fast  # the old memory goes before there is a new one
            self._fast, self._chars = self._renew(), 0
            self._held = _resident_bytes()


def _load(content: str) -> Fast:
    """Return the fast package's way to encode one text, from a tokenizer.json."""
    package: Any = importlib.import_module(f"{PACKAGE}.gigatoken_rs")
    return package.load_hf_json(content).encode


def _both(content: str) -> tuple[Encode, Encode]:
    """Return the ways of the library and of the fast package from texts to ids."""
    raw, encode = library.Tokenizer.from_str(content), _load(content)

    def slow(texts: Sequence[str]) -> list[list[int]]:
        encodings = raw.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    return slow, lambda texts: [encode(text).tolist() for text in texts]


def _find_unlike() -> list[int]:
    """Ask both libraries for the class of every code point: some seconds."""
    return unlike_code_points(*_both(probe_json()))


def _agree_on_tokens(content: str, tokens: Iterable[str]) -> bool:
    """Tell whether both libraries give the same ids for the text of every token."""
    texts: list[str] = []
    for token in tokens:
        with contextlib.suppress(UnicodeDecodeError):  # a piece of a character is no text
            texts.append(token_bytes(token).decode())
    slow, fast = _both(content)
    return slow(texts) == fast(texts)


def _disagreement(text: str) -> YxanulError:
    return YxanulError(
        f"the package {PACKAGE} gives other token ids than tokenizers",
        got=f"{PACKAGE} {version(PACKAGE)}, tokenizers {version('tokenizers')}, for {text[:60]!a}",
        hint=f"set {SWITCH}=0 in the environment: then tokenizers alone encodes",
    )


def _resident_bytes() -> int:
    """Return the memory that this process holds; where the system does not tell, the peak."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
