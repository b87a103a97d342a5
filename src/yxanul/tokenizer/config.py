"""Settings of the tokenizers; light, so that a recipe loads in a moment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from yxanul.base.settings import Settings


class ByteSettings(Settings):
    """One id for each of the 256 bytes, and the end of text."""

    kind: Literal["byte"] = "byte"


class BpeSettings(Settings):
    """A byte-level BPE trained on the run's own training text."""

    kind: Literal["bpe"] = "bpe"
    vocab_size: int = Field(default=4096, ge=257, le=1_000_000)
    """Ids to aim at: 256 bytes, the merges, and the end of text; little text may give fewer."""
    sample_bytes: int = Field(default=20_000_000, gt=0)
    """Bytes of text that the merges are learnt from, at most."""


class Gpt2Settings(Settings):
    """The GPT-2 vocabulary of 50,257 ids."""

    kind: Literal["gpt2"] = "gpt2"
    path: str | None = None
    """A folder with encoder.json and vocab.bpe; left out: openai-community/gpt2 on the hub."""


class FileSettings(Settings):
    """Any tokenizer.json of the `tokenizers` library."""

    kind: Literal["file"] = "file"
    path: str
    """A tokenizer.json, a folder that holds one, or owner/name of a model on the hub."""
    end_of_text: str | None = None
    """The token that ends a document; left out: found among the usual names."""


TokenizerSettings = Annotated[
    ByteSettings | BpeSettings | Gpt2Settings | FileSettings, Field(discriminator="kind")
]
