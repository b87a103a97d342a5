"""Byte-level vocabularies: their alphabet, and where text is split before merges apply."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

MAX_WORDS = 4
"""Maximum words in a superword that training may learn."""
_THREES_FROM_THE_RIGHT = r"(?=(\d{3})+(?!\d))"


@cache
def byte_symbols() -> tuple[str, ...]:
    """Return the printable character that stands for each byte 0..255, as in GPT-2.

    It is the byte itself if that is printable, else a character from U+0100 upwards.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte) if byte in printable else chr(next(spare)) for byte in range(256))


@cache
def _byte_of_symbol() -> dict[str, int]:
    return {symbol: byte for byte, symbol in enumerate(byte_symbols())}


def token_bytes(token: str) -> bytes:
    """Return the bytes of a byte-level token; any other token is encoded as UTF-8."""
    table = _byte_of_symbol()
    try:
        return bytes([table[symbol] for symbol in token])
    except KeyError:
        return token.encode()


def byte_level(model: models.Model, add_prefix_space: bool = False) -> tokenizers.Tokenizer:
    """Return a byte-level tokenizer with GPT-2's pre-tokenization."""
    raw = tokenizers.Tokenizer(model)
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space, use_regex=True)
    raw.decoder = decoders.ByteLevel()
    return raw


def superword_level(model: models.Model) -> tokenizers.Tokenizer:
    """Return a byte-level tokenizer that splits text only at digits: tokens may span spaces."""
    raw = tokenizers.Tokenizer(model)
    # With GPT-2's regex on, every token of several words would silently be unreachable.
    raw.pre_tokenizer = cut_at_digits(and_words=False)
    raw.decoder = decoders.ByteLevel()
    return raw


def with_inferred_split(
    model: models.Model, add_prefix_space: bool = False
) -> tokenizers.Tokenizer:
    """Return the tokenizer of a vocabulary; its tokens tell whether they may span spaces."""
    raw = superword_level(model)
    return raw if has_superwords(raw.get_vocab()) else byte_level(model, add_prefix_space)


def cut_at_digits(and_words: bool) -> pre_tokenizers.PreTokenizer:
    """Return SuperBPE's pre-tokenizer: 1234567 is 1, 234, 567; `and_words` splits words too."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Split(Regex(_THREES_FROM_THE_RIGHT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=and_words),
        ]
    )


def count_words(token: bytes) -> int:
    """Return the number of words in a token: runs of bytes between spaces (U+0020 only)."""
    return sum(1 for run in token.split(b" ") if run)


def has_superwords(vocab: Iterable[str]) -> bool:
    """Return whether any token continues past a space: then text must not be split at spaces."""
    # Stage one learns runs of white space such as "\n  \n", which contain no letter.
    return any(
        " " in (text := token_bytes(token).decode(errors="ignore").strip()) and text[-1:].isalpha()
        for token in vocab
    )


def may_be_superword(token: bytes) -> bool:
    """Return whether stage two may learn `token`: no colon before a space, at most four words."""
    return b": " not in token and count_words(token) <= MAX_WORDS
