"""The end-of-text (eos) token of a vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from yxanul.base.errors import YxanulError, near_miss

END_OF_TEXT = "<|endoftext|>"
"""The end of text of tokenizers built here."""

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
"""Common names of the end of text, in order of preference."""


def find_end_of_text(vocab: Mapping[str, int], beside: Path | None, wanted: str | None) -> str:
    """Return the end of text: `wanted`, else the `eos_token` declared in the folder `beside`, else
    the first usual name; raise if there is none."""
    if wanted is not None:
        if wanted not in vocab:
            raise YxanulError(
                f"the vocabulary has no end of text '{wanted}'",
                hint=near_miss(wanted, vocab),
            )
        return wanted
    declared = declared_end_of_text(beside) if beside is not None else None
    for name in (declared, *USUAL_NAMES):
        if name is not None and name in vocab:
            return name
    raise YxanulError(
        "the tokenizer has no end of text",
        expected="one of " + ", ".join(USUAL_NAMES),
        hint="set tokenizer.end_of_text",
    )


def declared_end_of_text(folder: Path) -> str | None:
    """Return the `eos_token` of a tokenizer_config.json in `folder`, or None."""
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError):
        return None
    token = config.get("eos_token") if isinstance(config, dict) else None
    if isinstance(token, dict):  # older files store the token with its flags
        token = token.get("content")
    return token if isinstance(token, str) else None
