"""What stands beside a tokenizer.json, as `transformers` has it: end of text, chat template."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

from yxanul.base.files import write_json
from yxanul.tokenizer.end_of_text import USUAL_NAMES

CONFIG = "tokenizer_config.json"
_TEMPLATE_FILE = "chat_template.jinja"
_END, _TEMPLATE = "eos_token", "chat_template"


def write_beside(
    file: Path, vocab: Container[str], end_of_text: str, chat_template: str | None
) -> None:
    """Write what the tokenizer in `file` cannot say itself; other keys of the file stay."""
    usual = next((name for name in USUAL_NAMES if name in vocab), None)
    config = file.with_name(CONFIG)
    if usual == end_of_text and chat_template is None and not config.exists():
        return
    before = _read(file.parent)
    after = {key: value for key, value in before.items() if key != _TEMPLATE}
    after[_END] = end_of_text
    if chat_template is not None:
        after[_TEMPLATE] = chat_template
    if after != before:
        write_json(config, after)


def declared_chat_template(folder: Path) -> str | None:
    """Return the chat template of a folder: of a file of its own, or of tokenizer_config.json."""
    try:
        return (folder / _TEMPLATE_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        found = _read(folder).get(_TEMPLATE)
    if isinstance(found, list):  # several, by name
        by_name = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = by_name.get("default")
    return found if isinstance(found, str) else None


def _read(folder: Path) -> dict[str, Any]:
    """Return tokenizer_config.json, an empty object where there is none that can be read."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
