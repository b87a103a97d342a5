"""Which token of a vocabulary ends a document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from yxanul.base.errors import YxanulError, near_miss

END_OF_TEXT = "<|endoftext|>"
"""The end of text of the tokenizers that are made here."""

USUAL_NAMES = (
    END_OF_TEXT,
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "<|im_end|>",
    "<|eot_id|>",
    "<｜end▁of▁sentence｜>",
    "[EOS]",
)
"""Names of the end of text in use, the first one found counts."""


def find_end_of_text(vocab: Mapping[str, int], beside: Path | None, wanted: str | None) -> str:
    """Return the token that ends a document: `wanted`, else what the file's folder says, else
    the first usual name; raise when there is none."""
    if wanted is not None:
        if wanted not in vocab:
            raise YxanulError(
                f"the tokenizer has no token '{wanted}' to end a document with",
                hint=near_miss(wanted, vocab),
            )
        return wanted
    declared = declared_end_of_text(beside) if beside is not None else None
    for name in (declared, *USUAL_NAMES):
        if name is not None and name in vocab:
            return name
    raise YxanulError(
        "the tokenizer has no token that ends a document",
        expected="one of " + ", ".join(USUAL_NAMES),
        hint="name it: tokenizer.end_of_text",
    )


def declared_end_of_text(folder: Path) -> str | None:
    """Return the `eos_token` of a tokenizer_config.json in `folder`, or None."""
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError):
        return None
    token = config.get("eos_token") if isinstance(config, dict) else None
    if isinstance(token, dict):  # older files hold the token with its flags
        token = token.get("content")
    return token if isinstance(token, str) else None
