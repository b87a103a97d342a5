"""SuperBPE (arXiv 2503.13423): loading the published vocabulary, and two-stage training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import models

from yxanul.base.errors import YxanulError
from yxanul.base.ui import Ui
from yxanul.tokenizer.pre_tokenizers import cut_at_digits, superword_level, token_bytes
from yxanul.tokenizer.superbpe.merges import StageTwo
from yxanul.tokenizer.superbpe.token_array import BORDER, TokenText
from yxanul.tokenizer.tokenizer import read_library_tokenizer
from yxanul.tokenizer.tokenizer_config import END_OF_TEXT
from yxanul.tokenizer.train_bpe import in_batches, learn_bpe

T80K_TOKENS = 200_000
T80K_SPECIAL = ("<|unknown|>", "<|padding|>", "<|reserved_0|>", "<|reserved_1|>", END_OF_TEXT)
"""Ids 200,000 to 200,004; padding and end of text have their ids of the published model."""
MAX_TEXT_CHARS = 1 << 20
"""Longer texts are split for training: merging needs many times a text's size in memory."""


def read_t80k(path: Path) -> tokenizers.Tokenizer:
    """Load the published tokenizer from its tokenizer.json, or from vocabulary and merges.

    The vocabulary files do not name the five special tokens: these names are our own.
    """
    file = path if path.is_file() else path / "tokenizer.json"
    if file.is_file():
        return read_library_tokenizer(file)
    raw = superword_level(read_bpe(path / "vocab.json", path / "merges.txt", "SuperBPE"))
    size = raw.get_vocab_size()
    if size != T80K_TOKENS:
        raise YxanulError(
            f"{path} does not contain the SuperBPE t80k vocabulary",
            got=f"{size:,} tokens",
            expected=f"{T80K_TOKENS:,}",
        )
    raw.add_special_tokens(
        [tokenizers.AddedToken(name, special=True, normalized=False) for name in T80K_SPECIAL]
    )
    return raw


def read_bpe(vocab: Path, merges: Path, what: str) -> models.BPE:
    """Load a vocabulary and its merges; raise a `YxanulError` if one is missing or damaged."""
    for file in (vocab, merges):
        if not file.is_file():
            files = f"a folder with {vocab.name} and {merges.name}"
            raise YxanulError(f"{file} is missing", expected=files)
    try:
        return models.BPE.from_file(str(vocab), str(merges))
    except Exception as error:  # the library raises nothing narrower
        raise YxanulError(f"{vocab.parent} has no valid {what} vocabulary", got=error) from None


def train_superbpe(
    sample: list[bytes], num_stage_one: int, num_tokens: int, ui: Ui
) -> tokenizers.Tokenizer:
    """Learn `num_stage_one` tokens within words, and the rest of `num_tokens` across words.

    Consumes the sample (UTF-8 texts): each text is freed once it is encoded, at 12 to 30 bytes of
    memory per token of stage one.
    """
    size_bytes = sum(map(len, sample))
    with ui.task("tokenizer, within words", size_bytes, "B") as task:
        raw = _stage_one(_decoded(sample, task.advance), num_stage_one)
    with ui.task("tokenizer, encode", size_bytes, "B") as task:
        sample.reverse()
        texts = _decoded((sample.pop() for _ in range(len(sample))), task.advance)
        text = TokenText(_encoded(raw, texts), raw.get_vocab_size())
    vocab, merges = _content(raw)
    two = StageTwo(text, [token_bytes(token) for token in vocab])
    with ui.task("tokenizer, across words", num_tokens - len(vocab), "merges") as task:
        for left, right in two.merges(num_tokens, task):
            merges.append((vocab[left], vocab[right]))
            vocab.append(vocab[left] + vocab[right])
    ids = {token: i for i, token in enumerate(vocab)}
    return superword_level(models.BPE(vocab=ids, merges=merges))


def _decoded(sample: Iterable[bytes], advance: Callable[[float], None]) -> Iterator[str]:
    """Yield the texts, long ones in chunks, and report progress in bytes."""
    for text in sample:
        whole = text.decode()
        for start in range(0, len(whole), MAX_TEXT_CHARS):
            yield whole[start : start + MAX_TEXT_CHARS]
        advance(len(text))


def _stage_one(texts: Iterator[str], num_tokens: int) -> tokenizers.Tokenizer:
    """Train an ordinary BPE of words and digits, then make it split text only at digits."""
    raw = superword_level(models.BPE())
    raw.pre_tokenizer = cut_at_digits(and_words=True)
    learn_bpe(raw, texts, num_tokens)
    raw.pre_tokenizer = cut_at_digits(and_words=False)
    return raw


def _encoded(raw: tokenizers.Tokenizer, texts: Iterator[str]) -> Iterator[np.ndarray]:
    """Yield the ids of each text, with BORDER between pre-tokens."""
    for batch in in_batches(texts):
        for encoding in raw.encode_batch(batch, add_special_tokens=False):
            words = np.array(encoding.word_ids, np.int64)
            splits = np.flatnonzero(words[1:] != words[:-1]) + 1
            yield np.insert(np.array(encoding.ids, np.int32), splits, BORDER)


def _content(raw: tokenizers.Tokenizer) -> tuple[list[str], list[tuple[str, str]]]:
    """Return a trained BPE's tokens in id order, and its merges."""
    model = json.loads(raw.to_str())["model"]
    vocab = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return vocab, [(left, right) for left, right in model["merges"]]
