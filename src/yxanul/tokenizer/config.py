"""Settings of the tokenizers; light, so that a recipe loads in a moment."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from yxanul.base.chat import check_chat_template, special_tokens_of
from yxanul.base.errors import YxanulError
from yxanul.base.settings import Misfit, Settings
from yxanul.tokenizer.end_of_text import END_OF_TEXT

NUM_BYTES = 256
TRANSITION_SHARE = 0.5
GPT2_TOKENS = 50_257


class CommonTokenizerSettings(Settings):
    """What every kind of tokenizer can have on top."""

    special_tokens: tuple[str, ...] = ()
    """Texts such as <step> that become one token each; their ids follow the end of text's."""
    chat_template: str | None = None
    """plain, chatml or a Jinja source: kept with the tokenizer; its marks become tokens too."""

    @field_validator("special_tokens")
    @classmethod
    def _tokens_are_tokens(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        for token in tokens:
            if not token.strip():
                raise ValueError(f"a special token is empty or white space: {token!r}")
            if not token.isprintable():
                raise ValueError(f"a special token holds signs that cannot be seen: {token!r}")
            if tokens.count(token) > 1:
                raise ValueError(f"the special token {token} is there twice")
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
        """The special tokens and the marks of the chat template, each once."""
        marks = () if self.chat_template is None else special_tokens_of(self.chat_template)
        wanted = dict.fromkeys((*self.special_tokens, *marks))
        return tuple(token for token in wanted if token != END_OF_TEXT)

    @property
    def max_vocab_size(self) -> int | None:
        """How many tokens there can be; None where only the tokenizer's file says it."""
        return None


class TrainedSettings(CommonTokenizerSettings):
    """What every tokenizer has that is trained on the run's own training text."""

    vocab_size: int = Field(default=4096, ge=NUM_BYTES + 1, le=1_000_000)
    """Ids to aim at: 256 bytes, the merges, the end of text and the special tokens; little text
    may give fewer."""
    sample_bytes: int = Field(default=20_000_000, gt=0)
    """Bytes of text that the merges are learnt from, at most."""

    @property
    def max_vocab_size(self) -> int:
        """Little text may give fewer."""
        return self.vocab_size

    @property
    def num_learnt(self) -> int:
        """How many tokens text has to give: bytes and merges."""
        return self.vocab_size - 1 - len(self.added_tokens)

    @model_validator(mode="after")
    def _there_is_room(self) -> Self:
        if self.num_learnt < NUM_BYTES:
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
        """They are known."""
        return NUM_BYTES + 1 + len(self.added_tokens)


class BpeSettings(TrainedSettings):
    """A byte-level BPE trained on the run's own training text."""

    kind: Literal["bpe"] = "bpe"


class SuperBpeSettings(TrainedSettings):
    """A BPE whose later tokens reach over white space: fewer tokens for the same text."""

    kind: Literal["superbpe"] = "superbpe"
    transition: int | None = Field(default=None, ge=NUM_BYTES)
    """Tokens learnt inside words before stage two; left out: half of vocab_size."""

    @property
    def num_stage_one(self) -> int:
        """How many tokens are learnt inside words."""
        share = round(TRANSITION_SHARE * self.vocab_size)
        wanted = max(share, NUM_BYTES) if self.transition is None else self.transition
        return min(wanted, self.num_learnt)

    @model_validator(mode="after")
    def _stage_two_is_there(self) -> Self:
        if self.transition is not None and self.transition >= self.num_learnt:
            raise Misfit(
                f"transition {self.transition} leaves nothing to stage two: give less than"
                f" {self.num_learnt} (vocab_size without end of text and special tokens)",
                "transition",
                "vocab_size",
            )
        return self


class Gpt2Settings(CommonTokenizerSettings):
    """The GPT-2 vocabulary of 50,257 ids."""

    kind: Literal["gpt2"] = "gpt2"
    path: str | None = None
    """A folder with encoder.json and vocab.bpe; left out: openai-community/gpt2 on the hub."""

    @property
    def max_vocab_size(self) -> int:
        """They are known, but for those that are added."""
        return GPT2_TOKENS + len(self.added_tokens)


class SuperBpeT80kSettings(CommonTokenizerSettings):
    """The published SuperBPE of 200,005 ids."""

    kind: Literal["superbpe-t80k"] = "superbpe-t80k"
    path: str | None = None
    """A folder with vocab.json and merges.txt, or a tokenizer.json; left out:
    UW/OLMo2-8B-SuperBPE-t80k on the hub."""


class FileSettings(CommonTokenizerSettings):
    """Any tokenizer.json of the `tokenizers` library."""

    kind: Literal["file"] = "file"
    path: str
    """A tokenizer.json, a folder that holds one, or owner/name of a model on the hub."""
    end_of_text: str | None = None
    """The token that ends a document; left out: found among the usual names."""


TokenizerSettings = Annotated[
    ByteSettings
    | BpeSettings
    | SuperBpeSettings
    | Gpt2Settings
    | SuperBpeT80kSettings
    | FileSettings,
    Field(discriminator="kind"),
]
