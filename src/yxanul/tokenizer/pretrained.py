"""The tokenizer of a `transformers` folder, with its bos and eos tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json
from yxanul.tokenizer.pre_tokenizers import with_inferred_split
from yxanul.tokenizer.superbpe.train import read_bpe
from yxanul.tokenizer.tokenizer import Tokenizer, read_library_tokenizer
from yxanul.tokenizer.tokenizer_config import (
    CONFIG,
    declared_chat_template,
    find_end_of_text,
    token_in,
)

_IDS_FROM = ("generation_config.json", "config.json")
_GPT2_FILES = ("vocab.json", "merges.txt")
_GPT2_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")


def load_pretrained_tokenizer(folder: Path, num_ids: int) -> Tokenizer:
    """Load the tokenizer of a folder: tokenizer.json, or GPT-2's vocab.json and merges.txt.

    The end of text is the folder's (first) `eos_token_id`, else its `eos_token`, else a usual name.
    A document begins with the token that the tokenizer itself prepends, else the folder's bos
    token, else the end of text. `num_ids` is the vocabulary size of the folder's model: it may
    exceed the tokenizer's, but must cover all ids that text can yield.
    """
    raw = _read(folder)
    end = next(_declared(folder, raw, "eos"), None)
    end = end or find_end_of_text(raw.get_vocab(), folder, None)
    begin = _put_in_front(raw) or next(_declared(folder, raw, "bos"), None)
    tokenizer = Tokenizer(raw, end, begin, num_ids)
    tokenizer.chat_template = declared_chat_template(folder)
    if tokenizer.num_ids_in_use > num_ids:
        raise YxanulError(
            f"{folder}: the tokenizer's ids exceed the model's vocabulary",
            got=f"{tokenizer.num_ids_in_use:,}",
            expected=f"at most {num_ids:,} (vocab_size in config.json)",
        )
    return tokenizer


def _read(folder: Path) -> tokenizers.Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return read_library_tokenizer(folder / "tokenizer.json")
    vocab, merges = (folder / name for name in _GPT2_FILES)
    settings = _read_object(folder / CONFIG)
    if vocab.is_file() and merges.is_file() and settings.get("tokenizer_class") in _GPT2_CLASSES:
        model = read_bpe(vocab, merges, "GPT-2")
        return with_inferred_split(model, bool(settings.get("add_prefix_space", False)))
    others = [name for name in ("tokenizer.model", *_GPT2_FILES) if (folder / name).is_file()]
    raise YxanulError(
        f"{folder} has no tokenizer.json",
        got=", ".join(others) or None,
        hint="AutoTokenizer.from_pretrained(folder).save_pretrained(folder) of transformers"
        " converts other formats",
    )


def _declared(folder: Path, raw: tokenizers.Tokenizer, word: str) -> Iterator[str]:
    """Yield the tokens that the folder's files declare as `eos` or `bos`, most reliable first."""
    for file in _IDS_FROM:
        key = f"{word}_token_id"
        value = _read_object(folder / file).get(key)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, bool) or not isinstance(number, int | None):
                form = "a whole number, or a list of them"
                raise YxanulError(f"{folder / file}: {key}", got=f"{value!r:.80}", expected=form)
            if number is None or not 0 <= number < 1 << 32:
                continue
            if (token := raw.id_to_token(number)) is not None:
                yield token
    for file in (CONFIG, "special_tokens_map.json"):
        token = token_in(_read_object(folder / file), f"{word}_token")
        if token is not None and raw.token_to_id(token) is not None:
            yield token


def _put_in_front(raw: tokenizers.Tokenizer) -> str | None:
    """Return the special token that the tokenizer itself prepends to a text, or None."""
    raw.no_padding()
    encoding = raw.encode("a", add_special_tokens=True)
    is_special = bool(encoding.special_tokens_mask and encoding.special_tokens_mask[0])
    return encoding.tokens[0] if is_special else None


def _read_object(file: Path) -> dict[str, Any]:
    """Return a file's JSON object, or {} if the file is missing or holds something else."""
    content = read_json(file) if file.is_file() else {}
    return content if isinstance(content, dict) else {}
