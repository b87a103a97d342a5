"""Making a tokenizer from its settings: one builder for each kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import tokenizers as library
from tokenizers import decoders, models, pre_tokenizers, trainers

from yxanul.base.errors import YxanulError
from yxanul.base.tables import pick
from yxanul.base.ui import Task, Ui
from yxanul.tokenizer.byte_alphabet import byte_symbols
from yxanul.tokenizer.config import (
    BpeSettings,
    ByteSettings,
    FileSettings,
    Gpt2Settings,
    TokenizerSettings,
)
from yxanul.tokenizer.end_of_text import END_OF_TEXT
from yxanul.tokenizer.tokenizer import Tokenizer

Texts = Callable[[], Iterable[str]]


def build_tokenizer(settings: TokenizerSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Return the tokenizer that `settings` ask for; `texts` gives the text to train one on."""
    return pick(TOKENIZERS, settings.kind, "tokenizer")(settings, texts, ui)


def build_byte(settings: ByteSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Return the tokenizer whose ids are the bytes themselves; the end of text is 256."""
    vocab = {symbol: byte for byte, symbol in enumerate(byte_symbols())}
    return Tokenizer(byte_level(models.BPE(vocab=vocab, merges=[])), END_OF_TEXT)


def build_bpe(settings: BpeSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Train a byte-level BPE; the same text gives the same merges; the end of text is last."""
    raw = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size - 1,
        min_frequency=2,
        initial_alphabet=list(byte_symbols()),
        show_progress=False,
    )
    with ui.task("train tokenizer", settings.sample_bytes, "B") as task:
        raw.train_from_iterator(_sample(texts(), settings.sample_bytes, task), trainer=trainer)
    tokenizer = Tokenizer(raw, END_OF_TEXT)
    if tokenizer.vocab_size < settings.vocab_size:
        ui.warn(
            f"the text is enough for {tokenizer.vocab_size} tokens, not for the "
            f"{settings.vocab_size} of tokenizer.vocab_size; going on with "
            f"{tokenizer.vocab_size}"
        )
    return tokenizer


def build_gpt2(settings: Gpt2Settings, texts: Texts, ui: Ui) -> Tokenizer:
    """Read GPT-2's vocabulary from a folder, or fetch it from the hub."""
    if settings.path is None:
        return _from_hub("openai-community/gpt2", END_OF_TEXT)
    files = [Path(settings.path) / name for name in ("encoder.json", "vocab.bpe")]
    for file in files:
        if not file.is_file():
            raise YxanulError(
                f"{file} is missing",
                wanted="a folder with encoder.json and vocab.bpe in tokenizer.path",
            )
    try:
        model = models.BPE.from_file(*map(str, files))
    except Exception as error:  # the library raises nothing narrower
        raise YxanulError(f"{settings.path} holds no GPT-2 vocabulary", found=error) from None
    return Tokenizer(byte_level(model), END_OF_TEXT)


def build_file(settings: FileSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Read a tokenizer.json from a path, or fetch one from the hub."""
    path = Path(settings.path)
    if not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+(?<!\.json)", settings.path):
        return _from_hub(settings.path, settings.end_of_text)
    return Tokenizer.load(path, settings.end_of_text)


TOKENIZERS: dict[str, Callable[[Any, Texts, Ui], Tokenizer]] = {
    "byte": build_byte,
    "bpe": build_bpe,
    "gpt2": build_gpt2,
    "file": build_file,
}


def byte_level(model: models.Model, add_prefix_space: bool = False) -> library.Tokenizer:
    """Return a tokenizer that cuts text as GPT-2 does and reads it as bytes."""
    raw = library.Tokenizer(model)
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space, use_regex=True)
    raw.decoder = decoders.ByteLevel()
    return raw


def _sample(texts: Iterable[str], sample_bytes: int, task: Task) -> Iterator[str]:
    """Yield texts until `sample_bytes` of UTF-8 have passed; none at all is an error."""
    taken_bytes = 0
    for text in texts:
        yield text
        size_bytes = len(text.encode("utf-8", errors="replace"))
        taken_bytes += size_bytes
        task.advance(size_bytes)
        if taken_bytes >= sample_bytes:
            return
    if taken_bytes == 0:
        raise YxanulError("there is no text to train the tokenizer on", hint="look at data.sources")


def _from_hub(name: str, end_of_text: str | None) -> Tokenizer:
    try:
        raw = library.Tokenizer.from_pretrained(name)
    except Exception as error:  # network, missing, gated: each client version has its own
        first_line = str(error).strip().splitlines()[0]
        raise YxanulError(
            f"the tokenizer '{name}' could not be fetched from the hub",
            found=first_line,
            hint="check the name and the network, or give a local path in tokenizer.path",
        ) from None
    return Tokenizer.from_json(raw.to_str(), end_of_text)
