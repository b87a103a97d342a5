"""Building a tokenizer from its settings, with one builder per kind."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import models

from yxanul.base.chat import source_of
from yxanul.base.errors import YxanulError
from yxanul.base.registry import lookup
from yxanul.base.ui import Ui
from yxanul.tokenizer.config import (
    BpeSettings,
    ByteSettings,
    CommonTokenizerSettings,
    FileSettings,
    Gpt2Settings,
    SuperBpeSettings,
    SuperBpeT80kSettings,
    TokenizerSettings,
    TrainedSettings,
)
from yxanul.tokenizer.pre_tokenizers import byte_level, byte_symbols
from yxanul.tokenizer.superbpe.train import T80K_TOKENS, read_bpe, read_t80k, train_superbpe
from yxanul.tokenizer.tokenizer import Tokenizer, read_library_tokenizer
from yxanul.tokenizer.tokenizer_config import CONFIG, END_OF_TEXT, TEMPLATE_FILE
from yxanul.tokenizer.train_bpe import learn_bpe, take_sample

Texts = Callable[[], Iterable[str]]

FILE = "tokenizer.json"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(?<!\.json)")


def build_tokenizer(settings: TokenizerSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Build the tokenizer of `settings`; `texts` returns the text to train it on."""
    return lookup(TOKENIZERS, settings.kind, "tokenizer")(settings, texts, ui)


def build_byte(settings: ByteSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Build the byte tokenizer: ids are byte values, end of text is 256."""
    vocab = {symbol: byte for byte, symbol in enumerate(byte_symbols())}
    return with_added(byte_level(models.BPE(vocab=vocab, merges=[])), END_OF_TEXT, settings)


def build_bpe(settings: BpeSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Train a byte-level BPE; the same text gives the same merges."""
    raw = byte_level(models.BPE())
    size, added = settings.sample_bytes, settings.added_tokens
    with ui.task("train tokenizer", size, "B") as task:
        learn_bpe(raw, take_sample(texts(), size, added, task), settings.num_learned)
    return _trained(raw, settings, ui)


def build_superbpe(settings: SuperBpeSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Train a SuperBPE: first within words, then across them."""
    size, added = settings.sample_bytes, settings.added_tokens
    with ui.task("read tokenizer text", size, "B") as task:
        sample = [text.encode(errors="replace") for text in take_sample(texts(), size, added, task)]
    return _trained(
        train_superbpe(sample, settings.num_stage_one, settings.num_learned, ui), settings, ui
    )


def _trained(raw: tokenizers.Tokenizer, settings: TrainedSettings, ui: Ui) -> Tokenizer:
    """Add the end of text to a trained tokenizer; warn if it is smaller than requested."""
    tokenizer = with_added(raw, END_OF_TEXT, settings)
    if tokenizer.vocab_size < settings.vocab_size:
        ui.warn(
            f"the text yields {tokenizer.vocab_size} tokens, fewer than tokenizer.vocab_size"
            f" {settings.vocab_size}; continuing with {tokenizer.vocab_size}"
        )
    return tokenizer


def build_gpt2(settings: Gpt2Settings, texts: Texts, ui: Ui) -> Tokenizer:
    """Load GPT-2's vocabulary from a folder or the hub."""
    if settings.path is None:
        raw = read_library_tokenizer(_from_hub("openai-community/gpt2"))
        return with_added(raw, END_OF_TEXT, settings)
    folder = Path(settings.path)
    model = read_bpe(folder / "encoder.json", folder / "vocab.bpe", "GPT-2")
    return with_added(byte_level(model), END_OF_TEXT, settings)


def build_superbpe_t80k(settings: SuperBpeT80kSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Load the published SuperBPE from a folder or the hub."""
    raw = read_t80k(Path(settings.path or _from_hub("UW/OLMo2-8B-SuperBPE-t80k")))
    end = raw.id_to_token(T80K_TOKENS + 4)
    if end is None:
        raise YxanulError(
            "this is not the SuperBPE t80k tokenizer",
            got=f"{raw.get_vocab_size():,} tokens",
            expected=f"{T80K_TOKENS + 5:,}, the last of them the end of text",
        )
    return with_added(raw, end, settings)


def build_file(settings: FileSettings, texts: Texts, ui: Ui) -> Tokenizer:
    """Load a tokenizer.json from a path or the hub."""
    path = Path(settings.path)
    if not path.exists() and is_hub_name(settings.path):
        path = _from_hub(settings.path)
    tokenizer = Tokenizer.load(path, settings.end_of_text)
    template = tokenizer.chat_template
    if settings.added_tokens or settings.chat_template is not None:
        raw = tokenizers.Tokenizer.from_str(tokenizer.to_json())
        tokenizer = with_added(raw, tokenizer.end_of_text, settings)
        tokenizer.chat_template = tokenizer.chat_template or template
    return tokenizer


def with_added(
    raw: tokenizers.Tokenizer, end_of_text: str, settings: CommonTokenizerSettings
) -> Tokenizer:
    """Return the tokenizer with end of text and the tokens of `settings` after its vocabulary."""
    added = settings.added_tokens
    if end_of_text in added:
        raise YxanulError(
            f"tokenizer.special_tokens contains '{end_of_text}'",
            hint="it is already the end of text",
        )
    raw.add_special_tokens([tokenizers.AddedToken(end_of_text, special=True, normalized=False)])
    if added:
        raw = _made_ordinary(raw, added)
        raw.add_tokens(
            [tokenizers.AddedToken(name, special=False, normalized=False) for name in added]
        )
    tokenizer = Tokenizer(raw, end_of_text)
    if settings.chat_template is not None:
        tokenizer.chat_template = source_of(settings.chat_template)
    return tokenizer


def _made_ordinary(raw: tokenizers.Tokenizer, names: Sequence[str]) -> tokenizers.Tokenizer:
    """Clear the special flag of the tokens in `names`, so that they are matched in text."""
    content = json.loads(raw.to_str())
    special = [t for t in content["added_tokens"] if t["special"] and t["content"] in names]
    if not special:
        return raw
    for token in special:
        token.update(special=False, normalized=False)
    return tokenizers.Tokenizer.from_str(json.dumps(content))


TOKENIZERS: dict[str, Callable[[Any, Texts, Ui], Tokenizer]] = {
    "byte": build_byte,
    "bpe": build_bpe,
    "superbpe": build_superbpe,
    "gpt2": build_gpt2,
    "superbpe-t80k": build_superbpe_t80k,
    "file": build_file,
}


def is_hub_name(name: str) -> bool:
    """Return whether `name` has the form owner/name of a hub repository."""
    return _HUB_NAME.fullmatch(name) is not None


def _from_hub(name: str) -> Path:
    """Download the tokenizer of a repository; return its tokenizer.json, beside its other files."""
    from huggingface_hub import snapshot_download

    try:
        with _quiet_hub():
            folder = snapshot_download(name, allow_patterns=[FILE, CONFIG, TEMPLATE_FILE])
            return Path(folder) / FILE
    except Exception as error:  # network, missing, gated: the type depends on the client version
        first_line = str(error).strip().splitlines()[:1]
        raise YxanulError(
            f"cannot fetch the tokenizer '{name}' from the hub",
            got=first_line[0] if first_line else type(error).__name__,
            hint="check the name and the network, or give a local path in tokenizer.path",
        ) from None


@contextlib.contextmanager
def _quiet_hub() -> Iterator[None]:
    """Silence the hub client's bars and its message for each retry: one error is enough."""
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars, logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
        logging.set_verbosity(before)
