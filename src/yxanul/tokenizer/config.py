"""Settings of the tokenizers; without heavy imports, so that recipes load fast."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from yxanul.base.chat import check_chat_template, special_tokens_of
from yxanul.base.errors import YxanulError
from yxanul.base.settings import Misfit, Settings
from yxanul.tokenizer.tokenizer_config import END_OF_TEXT

NUM_BYTES = 256
TRANSITION_SHARE = 0.5
GPT2_TOKENS = 50_257


class CommonTokenizerSettings(Settings):
    """Settings shared by all kinds of tokenizers."""

    special_tokens: tuple[str, ...] = ()
    """Texts such as <step> that become one token each; their ids follow the end of text."""
    chat_template: str | None = None
    """plain, chatml or a Jinja source, saved with the tokenizer; its markers become tokens too."""

    @field_validator("special_tokens")
    @classmethod
    def _tokens_are_tokens(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        for token in tokens:
            if not token.strip():
                raise ValueError(f"special token is empty or white space: {token!r}")
            if not token.isprintable():
                raise ValueError(f"special token contains unprintable characters: {token!r}")
            if tokens.count(token) > 1:
                raise ValueError(f"duplicate special token {token}")
        return tokens

    @field_validator("chat_template")
    @classmethod
    def _template_is_sound(cls, template: str | None) -> str | None:
        try:
            if template is not None:
                check_chat_template(template)
        except YxanulError as error:
            raise ValueError(str(error)) from None
        return template

    @property
    def added_tokens(self) -> tuple[str, ...]:
        """The special tokens and the markers of the chat template, without duplicates."""
        markers = () if self.chat_template is None else special_tokens_of(self.chat_template)
        unique = dict.fromkeys((*self.special_tokens, *markers))
        return tuple(token for token in unique if token != END_OF_TEXT)

    @property
    def max_vocab_size(self) -> int | None:
        """Upper bound on the vocabulary size; None if only the tokenizer's file determines it."""
        return None


class TrainedSettings(CommonTokenizerSettings):
    """Settings of tokenizers trained on the run's own training text."""

    vocab_size: int = Field(default=4096, ge=NUM_BYTES + 1, le=1_000_000)
    """Target number of ids: 256 bytes, merges, end of text and special tokens; little text may
    yield fewer."""
    sample_bytes: int = Field(default=20_000_000, gt=0)
    """Maximum bytes of text to learn the merges from."""

    @property
    def max_vocab_size(self) -> int:
        """The target size; little text may yield fewer."""
        return self.vocab_size

    @property
    def num_learned(self) -> int:
        """Number of tokens learned from text: bytes and merges."""
        return self.vocab_size - 1 - len(self.added_tokens)

    @model_validator(mode="after")
    def _there_is_room(self) -> Self:
        if self.num_learned < NUM_BYTES:
            raise Misfit(
                f"vocab_size {self.vocab_size} has no room for 256 bytes, the end of text and"
                f" {len(self.added_tokens)} special tokens",
                "vocab_size",
                "special_tokens",
            )
        return self


class ByteSettings(CommonTokenizerSettings):
    """One id for each of the 256 bytes, and the end of text."""

    kind: Literal["byte"] = "byte"

    @property
    def max_vocab_size(self) -> int:
        """Exact size: the bytes, the end of text and the added tokens."""
        return NUM_BYTES + 1 + len(self.added_tokens)


class BpeSettings(TrainedSettings):
    """A byte-level BPE trained on the run's own training text."""

    kind: Literal["bpe"] = "bpe"


class SuperBpeSettings(TrainedSettings):
    """A BPE whose later merges cross white space: fewer tokens for the same text."""

    kind: Literal["superbpe"] = "superbpe"
    transition: int | None = Field(default=None, ge=NUM_BYTES)
    """Tokens learned within words, before stage two; default: half of vocab_size."""

    @property
    def num_stage_one(self) -> int:
        """Number of tokens learned within words."""
        share = round(TRANSITION_SHARE * self.vocab_size)
        target = max(share, NUM_BYTES) if self.transition is None else self.transition
        return min(target, self.num_learned)

    @model_validator(mode="after")
    def _stage_two_is_there(self) -> Self:
        if self.transition is not None and self.transition >= self.num_learned:
            raise Misfit(
                f"transition {self.transition} leaves no tokens for stage two: must be below"
                f" {self.num_learned} (vocab_size without end of text and special tokens)",
                "transition",
                "vocab_size",
            )
        return self


class Gpt2Settings(CommonTokenizerSettings):
    """The GPT-2 vocabulary of 50,257 ids."""

    kind: Literal["gpt2"] = "gpt2"
    path: str | None = None
    """A folder with encoder.json and vocab.bpe; default: openai-community/gpt2 on the hub."""

    @property
    def max_vocab_size(self) -> int:
        """Exact size: the GPT-2 vocabulary and the added tokens."""
        return GPT2_TOKENS + len(self.added_tokens)


class SuperBpeT80kSettings(CommonTokenizerSettings):
    """The published SuperBPE of 200,005 ids."""

    kind: Literal["superbpe-t80k"] = "superbpe-t80k"
    path: str | None = None
    """A folder with vocab.json and merges.txt, or a tokenizer.json; default:
    UW/OLMo2-8B-SuperBPE-t80k on the hub."""


class FileSettings(CommonTokenizerSettings):
    """Any tokenizer.json of the `tokenizers` library."""

    kind: Literal["file"] = "file"
    path: str
    """A tokenizer.json, a folder with one, or owner/name of a repository on the hub."""
    end_of_text: str | None = None
    """The token that ends a document; default: eos_token of the tokenizer_config.json in the same
    folder, else the first usual name."""


TokenizerSettings = Annotated[
    ByteSettings
    | BpeSettings
    | SuperBpeSettings
    | Gpt2Settings
    | SuperBpeT80kSettings
    | FileSettings,
    Field(discriminator="kind"),
]
