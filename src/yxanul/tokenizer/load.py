"""Opening a tokenizer by name: a kind, a hub repository, a folder or a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.base.files import expand_home
from yxanul.base.ui import SilentUi
from yxanul.tokenizer.build import TOKENIZERS, build_tokenizer, is_hub_name
from yxanul.tokenizer.config import (
    ByteSettings,
    FileSettings,
    Gpt2Settings,
    SuperBpeT80kSettings,
    TokenizerSettings,
)
from yxanul.tokenizer.pre_tokenizers import has_superwords, with_inferred_split
from yxanul.tokenizer.superbpe.train import T80K_TOKENS, read_bpe
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.tokenizer.tokenizer_config import END_OF_TEXT, USUAL_NAMES

UNTRAINED: dict[str, TokenizerSettings] = {
    "byte": ByteSettings(),
    "gpt2": Gpt2Settings(),
    "superbpe-t80k": SuperBpeT80kSettings(),
}
"""Kinds that need no training."""


@dataclass(frozen=True)
class Description:
    """Key facts of a tokenizer."""

    kind: str
    """byte, bpe or superbpe, else the library's model type in lower case."""
    vocab_size: int
    num_merges: int
    end_of_text: str
    end_of_text_id: int
    added_tokens: dict[str, int]
    """Ids of special tokens and of tokens matched literally in text."""
    chat_template: str | None
    digest: str


def open_named(name: str) -> Tokenizer:
    """Return the tokenizer called `name`; an existing path takes precedence."""
    path = expand_home(name)
    if path.is_file():
        return Tokenizer.load(path)
    if path.is_dir() and (name not in UNTRAINED or _files(path)):
        return _from_folder(path)
    if name in UNTRAINED:
        return _build(UNTRAINED[name])
    # A name that begins with a dot is a path that does not exist.
    if is_hub_name(name) and not name.startswith("."):
        return _build(FileSettings(path=name))
    if name in TOKENIZERS:
        raise YxanulError(
            f"the kind '{name}' has no pretrained vocabulary",
            hint="train one with `yxanul tokenizer train` and pass its folder",
        )
    raise YxanulError(
        f"unknown tokenizer '{name}'",
        expected=f"one of {', '.join(UNTRAINED)}, owner/name on the hub, a folder or a file",
        hint=did_you_mean(name, UNTRAINED),
    )


def describe(tokenizer: Tokenizer) -> Description:
    """Return the key facts of a tokenizer."""
    content = json.loads(tokenizer.to_json())
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    return Description(
        kind=_kind(content, tokenizer.is_byte_level),
        vocab_size=tokenizer.vocab_size,
        num_merges=len(content["model"].get("merges", ())),
        end_of_text=tokenizer.end_of_text,
        end_of_text_id=tokenizer.end_of_text_id,
        added_tokens=added,
        chat_template=tokenizer.chat_template,
        digest=tokenizer.digest,
    )


def _kind(content: dict[str, Any], is_byte_level: bool) -> str:
    model = content["model"]
    if model["type"] != "BPE" or not is_byte_level:
        return str(model["type"]).lower()
    if not model["merges"]:
        return "byte"
    return "superbpe" if has_superwords(model["vocab"]) else "bpe"


def _files(folder: Path) -> tuple[str, ...]:
    """Return the first complete set of tokenizer files in a folder, or ()."""
    sets = [("tokenizer.json",), ("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")]
    complete = [names for names in sets if all((folder / name).is_file() for name in names)]
    return complete[0] if complete else ()


def _from_folder(folder: Path) -> Tokenizer:
    files = _files(folder)
    if files[:1] == ("tokenizer.json",):
        return Tokenizer.load(folder)
    if files[:1] == ("encoder.json",):
        return _build(Gpt2Settings(path=str(folder)))
    if files:
        return _from_vocabulary(folder)
    raise YxanulError(
        f"{folder} holds no tokenizer",
        expected="tokenizer.json, or encoder.json and vocab.bpe, or vocab.json and merges.txt",
    )


def _from_vocabulary(folder: Path) -> Tokenizer:
    """Load vocab.json and merges.txt; infer the pre-tokenizer, which they lack, from the tokens."""
    raw = with_inferred_split(read_bpe(folder / "vocab.json", folder / "merges.txt", "BPE"))
    tokens = raw.get_vocab()
    if len(tokens) == T80K_TOKENS and has_superwords(tokens):
        return _build(SuperBpeT80kSettings(path=str(folder)))
    return Tokenizer(raw, next((name for name in USUAL_NAMES if name in tokens), END_OF_TEXT))


def _build(settings: TokenizerSettings) -> Tokenizer:
    return build_tokenizer(settings, tuple, SilentUi())
