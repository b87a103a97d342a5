"""The tokenizer of a `transformers` folder, with the tokens that begin and end its documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers as library

from yxanul.base.errors import YxanulError
from yxanul.base.files import read_json
from yxanul.tokenizer.end_of_text import find_end_of_text
from yxanul.tokenizer.pre_tokenizers import byte_level, has_superwords, superword_level
from yxanul.tokenizer.superbpe.train import read_bpe
from yxanul.tokenizer.tokenizer import Tokenizer, read_library_tokenizer
from yxanul.tokenizer.tokenizer_config import declared_chat_template

_IDS_FROM = ("generation_config.json", "config.json")
_GPT2_FILES = ("vocab.json", "merges.txt")
_GPT2_CLASSES = (None, "GPT2Tokenizer", "GPT2TokenizerFast")


def load_pretrained_tokenizer(folder: Path, num_ids: int) -> Tokenizer:
    """Return the tokenizer in a folder: its tokenizer.json, or GPT-2's vocab.json and merges.txt.

    A document ends with the (first) `eos_token_id` of the folder, its `eos_token`, or a usual
    name; it begins with what the tokenizer itself puts in front of a text, else the `bos_token_id`,
    else its end. `num_ids` is the vocabulary of the folder's model: it may know ids that stand for
    no token, but has to know all that text can give.
    """
    raw = _read(folder)
    end = next(_declared(folder, raw, "eos"), None)
    end = end or find_end_of_text(raw.get_vocab(), folder, None)
    begin = _put_in_front(raw) or next(_declared(folder, raw, "bos"), None)
    tokenizer = Tokenizer(raw, end, begin, num_ids)
    tokenizer.chat_template = declared_chat_template(folder)
    if tokenizer.num_ids_in_use > num_ids:
        raise YxanulError(
            f"{folder}: the tokenizer gives more tokens than the model knows",
            got=f"{tokenizer.num_ids_in_use:,}",
            expected=f"at most {num_ids:,} (vocab_size in config.json)",
        )
    return tokenizer


def _read(folder: Path) -> library.Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return read_library_tokenizer(folder / "tokenizer.json")
    vocab, merges = (folder / name for name in _GPT2_FILES)
    settings = _read_object(folder / "tokenizer_config.json")
    if vocab.is_file() and merges.is_file() and settings.get("tokenizer_class") in _GPT2_CLASSES:
        model = read_bpe(vocab, merges, "GPT-2")
        raw = superword_level(model)
        if has_superwords(raw.get_vocab()):
            return raw
        return byte_level(model, bool(settings.get("add_prefix_space", False)))
    others = [name for name in ("tokenizer.model", *_GPT2_FILES) if (folder / name).is_file()]
    raise YxanulError(
        f"{folder} has no tokenizer.json",
        got=", ".join(others) or None,
        hint="AutoTokenizer.from_pretrained(folder).save_pretrained(folder) of transformers"
        " writes one from the other formats",
    )


def _declared(folder: Path, raw: library.Tokenizer, word: str) -> Iterator[str]:
    """Yield the tokens that the folder's files name as `eos` or `bos`, the likeliest first."""
    for file in _IDS_FROM:
        key = f"{word}_token_id"
        found = _read_object(folder / file).get(key)
        for number in found if isinstance(found, list) else [found]:
            if isinstance(number, bool) or not isinstance(number, int | None):
                wanted = "a whole number, or a list of them"
                raise YxanulError(f"{folder / file}: {key}", got=f"{found!r:.80}", expected=wanted)
            if number is None or not 0 <= number < 1 << 32:
                continue
            if (token := raw.id_to_token(number)) is not None:
                yield token
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        token = _read_object(folder / file).get(f"{word}_token")
        if isinstance(token, dict):  # older files hold the token with its flags
            token = token.get("content")
        if isinstance(token, str) and raw.token_to_id(token) is not None:
            yield token


def _put_in_front(raw: library.Tokenizer) -> str | None:
    """Return the special token that the tokenizer itself puts before a text, if it does."""
    raw.no_padding()
    encoding = raw.encode("a", add_special_tokens=True)
    is_special = bool(encoding.special_tokens_mask and encoding.special_tokens_mask[0])
    return encoding.tokens[0] if is_special else None


def _read_object(file: Path) -> dict[str, Any]:
    """Return a JSON object, an empty one if there is no such file."""
    found = read_json(file) if file.is_file() else {}
    return found if isinstance(found, dict) else {}
