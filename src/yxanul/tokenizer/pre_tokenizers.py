"""Where text is cut before merges apply, and what counts as a word."""

from __future__ import annotations

from collections.abc import Iterable

import tokenizers as library
from tokenizers import Regex, decoders, models, pre_tokenizers

from yxanul.tokenizer.byte_alphabet import token_bytes

MAX_WORDS = 4
"""A superword that has to be learnt may hold so many words."""
_THREES_FROM_THE_RIGHT = r"(?=(\d{3})+(?!\d))"


def byte_level(model: models.Model, add_prefix_space: bool = False) -> library.Tokenizer:
    """Return a tokenizer that cuts text as GPT-2 does and reads it as bytes."""
    raw = library.Tokenizer(model)
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space, use_regex=True)
    raw.decoder = decoders.ByteLevel()
    return raw


def superword_level(model: models.Model) -> library.Tokenizer:
    """Return a tokenizer that cuts text at digits only: tokens may reach over white space."""
    raw = library.Tokenizer(model)
    # With the regex of GPT-2 on, every token of several words would be lost without a word.
    raw.pre_tokenizer = cut_at_digits(and_words=False)
    raw.decoder = decoders.ByteLevel()
    return raw


def cut_at_digits(and_words: bool) -> pre_tokenizers.PreTokenizer:
    """Return the cuts of a SuperBPE: 1234567 is 1, 234, 567; `and_words` cuts at words too."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Split(Regex(_THREES_FROM_THE_RIGHT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=and_words),
        ]
    )


def count_words(token: bytes) -> int:
    """Return how many words a token holds: runs of bytes between spaces (U+0020, no other)."""
    return sum(1 for run in token.split(b" ") if run)


def has_superwords(vocab: Iterable[str]) -> bool:
    """Tell whether some token goes on behind a space: then text must not be cut at spaces."""
    # Stage one learns runs of white space such as "\n  \n", which hold no letter.
    return any(
        " " in (text := token_bytes(token).decode(errors="ignore").strip()) and text[-1:].isalpha()
        for token in vocab
    )


def may_be_superword(token: bytes) -> bool:
    """Tell whether stage two may learn `token`: no colon before a space, at most four words."""
    return b": " not in token and count_words(token) <= MAX_WORDS
