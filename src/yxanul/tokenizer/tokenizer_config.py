"""tokenizer_config.json as in `transformers`: end of text and chat template."""

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
    """Write what tokenizer.json (`file`) cannot hold; the file's other keys are kept."""
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
    """Return a folder's chat template, from chat_template.jinja, else tokenizer_config.json."""
    try:
        return (folder / _TEMPLATE_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        template = _read(folder).get(_TEMPLATE)
    if isinstance(template, list):  # several, by name
        entries = [entry for entry in template if isinstance(entry, dict)]
        template = {e.get("name"): e.get("template") for e in entries}.get("default")
    return template if isinstance(template, str) else None


def _read(folder: Path) -> dict[str, Any]:
    """Return tokenizer_config.json, or {} if it is missing or broken."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
