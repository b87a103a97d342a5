"""The end of text (eos) and the chat template of a tokenizer, as `transformers` stores them."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.base.files import write_json

CONFIG = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"
_END, _TEMPLATE = "eos_token", "chat_template"

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
                hint=did_you_mean(wanted, vocab),
            )
        return wanted
    declared = token_in(_read(beside / CONFIG), _END) if beside is not None else None
    for name in (declared, *USUAL_NAMES):
        if name is not None and name in vocab:
            return name
    raise YxanulError(
        "the tokenizer has no end of text",
        expected="one of " + ", ".join(USUAL_NAMES),
        hint="set tokenizer.end_of_text",
    )


def token_in(config: Mapping[str, Any], key: str) -> str | None:
    """Return a token that a tokenizer_config.json (or a file like it) declares, or None."""
    token = config.get(key)
    if isinstance(token, dict):  # older files store the token with its flags
        token = token.get("content")
    return token if isinstance(token, str) else None


def write_beside(
    file: Path, vocab: Container[str], end_of_text: str, chat_template: str | None
) -> None:
    """Write what tokenizer.json (`file`) cannot hold; the file's other keys are kept."""
    usual = next((name for name in USUAL_NAMES if name in vocab), None)
    config = file.with_name(CONFIG)
    if usual == end_of_text and chat_template is None and not config.exists():
        return
    before = _read(config)
    after = {key: value for key, value in before.items() if key != _TEMPLATE}
    after[_END] = end_of_text
    if chat_template is not None:
        after[_TEMPLATE] = chat_template
    if after != before:
        write_json(config, after)


def declared_chat_template(folder: Path) -> str | None:
    """Return a folder's chat template, from chat_template.jinja, else tokenizer_config.json."""
    try:
        return (folder / TEMPLATE_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        template = _read(folder / CONFIG).get(_TEMPLATE)
    if isinstance(template, list):  # several, by name
        entries = [entry for entry in template if isinstance(entry, dict)]
        template = {e.get("name"): e.get("template") for e in entries}.get("default")
    return template if isinstance(template, str) else None


def _read(file: Path) -> dict[str, Any]:
    """Return a file's JSON object, or {} if it is missing or damaged."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}
