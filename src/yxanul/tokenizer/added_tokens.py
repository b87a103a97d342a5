"""User-defined tokens and chat template on top of a finished vocabulary."""

from __future__ import annotations

import json
from collections.abc import Sequence

import tokenizers as library

from yxanul.base.chat import source_of
from yxanul.base.errors import YxanulError
from yxanul.tokenizer.config import CommonTokenizerSettings
from yxanul.tokenizer.tokenizer import Tokenizer


def with_added(
    raw: library.Tokenizer, end_of_text: str, settings: CommonTokenizerSettings
) -> Tokenizer:
    """Return the tokenizer with end of text and the tokens of `settings` after its vocabulary."""
    added = settings.added_tokens
    if end_of_text in added:
        raise YxanulError(
            f"tokenizer.special_tokens contains '{end_of_text}'",
            hint="it is already the end of text",
        )
    raw.add_special_tokens([library.AddedToken(end_of_text, special=True, normalized=False)])
    if added:
        raw = _found_in_text(raw, added)
        raw.add_tokens(
            [library.AddedToken(name, special=False, normalized=False) for name in added]
        )
    tokenizer = Tokenizer(raw, end_of_text)
    if settings.chat_template is not None:
        tokenizer.chat_template = source_of(settings.chat_template)
    return tokenizer


def _found_in_text(raw: library.Tokenizer, names: Sequence[str]) -> library.Tokenizer:
    """Return the tokenizer with special tokens in `names` made ordinary, to be matched in text."""
    content = json.loads(raw.to_str())
    special = [t for t in content["added_tokens"] if t["special"] and t["content"] in names]
    if not special:
        return raw
    for token in special:
        token.update(special=False, normalized=False)
    return library.Tokenizer.from_str(json.dumps(content))
