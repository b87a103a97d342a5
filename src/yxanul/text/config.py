"""Settings of the sources of text; this file imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from yxanul.base.chat import check_chat_template
from yxanul.base.errors import YxanulError
from yxanul.base.settings import Misfit, Settings
from yxanul.text.filters.config import FilterSettings, ScoreFilterSettings, ValueFilterSettings
from yxanul.text.template import parse_template

END_OF_TEXT = "<|endoftext|>"


class CommonSettings(Settings):
    """What every source of text has."""

    on_problem: Literal["drop", "stop"] = "drop"
    """What a document that cannot be used does: it is counted and left out, or it ends the run."""
    on_bad_file: Literal["drop", "stop"] = "stop"
    """What a file does that breaks off, is damaged or is not text: what can be read of it is used
    and the rest is counted, or it ends the run."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many documents are read (those that are left out count too)."""
    filters: tuple[FilterSettings, ...] | None = None
    """What documents must have; left out: what `data.filters` says."""
    max_epochs: float | None = Field(default=None, gt=0)
    """How often a run may see the source at most; then the rest of the mix takes its share."""

    @property
    def score_columns(self) -> list[str]:
        """The columns that filters read, besides those that the text is made of."""
        kinds = (ScoreFilterSettings, ValueFilterSettings)
        scores = (one for one in self.filters or () if isinstance(one, kinds))
        return list(dict.fromkeys(one.column for one in scores))


class ColumnSettings(CommonSettings):
    """What every source of rows has: which columns make the text."""

    text_column: str | None = Field(default=None, min_length=1)
    """The column of the text; without it and without a template, a guess that is reported."""
    template: str | None = None
    """Text made of several columns, such as "Question: {question}\\nAnswer: {answer}"."""
    chat: str = "plain"
    """How a column of chat messages becomes text: plain, chatml, or a Jinja source."""

    @field_validator("template")
    @classmethod
    def _template_is_sound(cls, template: str | None) -> str | None:
        if template is not None:
            parse_template(template)
        return template

    @field_validator("chat")
    @classmethod
    def _chat_is_sound(cls, chat: str) -> str:
        try:
            check_chat_template(chat)
        except YxanulError as error:
            raise ValueError(str(error)) from None
        return chat

    @model_validator(mode="after")
    def _one_way_to_the_text(self) -> Self:
        if self.text_column is not None and self.template is not None:
            raise Misfit(
                "text_column and template exclude each other: give one of the two",
                "template",
                "text_column",
            )
        return self


class BuiltinSettings(CommonSettings):
    """Text that needs no download: made up by rules, or the standard library's own sources."""

    kind: Literal["builtin"] = "builtin"
    domain: Literal["stories", "python", "math", "reasoning"]
    """What the text is about."""
    documents: int | None = Field(default=None, ge=1)
    """How many documents: 10,000 if not given; for python at most so many, all if not given."""
    seed: int = 0
    """Another seed makes other documents (python has none)."""


class TextSettings(ColumnSettings):
    """Files of text, HTML, JSON, CSV or parquet: one, a folder of them, or a glob; also .gz, .zst,
    .bz2 and .xz. Each is read as what its name says; the columns are of those that have rows."""

    kind: Literal["text"] = "text"
    path: str = Field(min_length=1)
    """A file, a folder (read with all its folders; hidden files are skipped) or a glob, on this
    machine or at an address such as s3://bucket/folder or https://host/file.txt."""
    split_by: Literal["auto", "file", "passages", "lines", "separator"] = "auto"
    """What a document is; auto: what lies between separator lines, or passages where a file has
    none in its first 64 MiB."""
    separator: str = Field(default=END_OF_TEXT, min_length=1)
    """What stands between two documents."""
    passage_chars: int = Field(default=4000, ge=16)
    """A passage is whole paragraphs, gathered until they have this many characters."""
    suffixes: tuple[str, ...] = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org")
    """How the names of a folder's files end (also before .gz and the like); as it is, all files
    are taken that can be read."""

    @field_validator("separator")
    @classmethod
    def _separator_is_in_a_line(cls, separator: str) -> str:
        if "\n" in separator or separator != separator.strip():
            raise ValueError("the separator must be one line without spaces at its ends")
        return separator


class JsonlSettings(ColumnSettings):
    """JSON: one object a line, or one array of objects; also .gz, .zst, .bz2 and .xz."""

    kind: Literal["jsonl"] = "jsonl"
    path: str = Field(min_length=1)
    """A file, a folder or a glob of .jsonl, .ndjson or .json files, here or at an address."""
    id_column: str | None = Field(default=None, min_length=1)
    """The column that names a document; without it, the file and a running number."""


class ParquetSettings(ColumnSettings):
    """Parquet files, read row group by row group."""

    kind: Literal["parquet"] = "parquet"
    path: str = Field(min_length=1)
    """A file, a folder or a glob of .parquet files, here or at an address."""
    id_column: str | None = Field(default=None, min_length=1)
    """The column that names a document; without it, the file and the row."""


class HubSettings(ColumnSettings):
    """A data set of the Hugging Face hub; the token is HF_TOKEN, or that of `hf auth login`."""

    kind: Literal["hub"] = "hub"
    name: str = Field(min_length=1)
    """Owner and name, such as roneneldan/TinyStories; ./name is a folder with a copy of a set."""
    config: str | None = None
    """Which configuration, where the set has several."""
    split: str = Field(default="train", min_length=1)
    """Which split."""
    revision: str | None = None
    """A branch, tag or commit; a commit makes the run repeatable."""
    data_files: str | tuple[str, ...] | None = None
    """Only these files of the set (globs)."""
    streaming: bool = False
    """Read straight from the hub; else the files are downloaded once, into the usual cache."""

    @field_validator("name")
    @classmethod
    def _name_has_an_owner(cls, name: str) -> str:
        if name.startswith((".", "/")) or (name.count("/") == 1 and all(name.split("/"))):
            return name
        raise ValueError("must be owner and name, such as roneneldan/TinyStories")


SourceSettings: TypeAlias = Annotated[
    BuiltinSettings | TextSettings | JsonlSettings | ParquetSettings | HubSettings,
    Field(discriminator="kind"),
]
