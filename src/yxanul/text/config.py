"""Settings of the sources of text; this file imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from yxanul.base.settings import Settings
from yxanul.text.filters.config import FilterSettings, ScoreFilterSettings
from yxanul.text.template import parse_template

END_OF_TEXT = "<|endoftext|>"


class CommonSettings(Settings):
    """What every source of text has."""

    on_problem: Literal["drop", "stop"] = "drop"
    """What a document that cannot be used does: it is counted and left out, or it ends the run."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many documents are read (those that are left out count too)."""
    filters: tuple[FilterSettings, ...] | None = None
    """What documents must have; left out: what `data.filters` says."""
    max_epochs: float | None = Field(default=None, gt=0)
    """How often a run may see the source at most; then the rest of the mix takes its share."""

    @property
    def score_columns(self) -> list[str]:
        """The columns that filters look at, beside those that the text is made of."""
        scores = (one for one in self.filters or () if isinstance(one, ScoreFilterSettings))
        return list(dict.fromkeys(one.column for one in scores))


class ColumnSettings(CommonSettings):
    """What every source of rows has: which columns make the text."""

    text_column: str | None = Field(default=None, min_length=1)
    """The column of the text; without it and without a template, a guess that is reported."""
    template: str | None = None
    """Text made of several columns, such as "Question: {question}\\nAnswer: {answer}"."""

    @field_validator("template")
    @classmethod
    def _template_is_sound(cls, template: str | None) -> str | None:
        if template is not None:
            parse_template(template)
        return template

    @model_validator(mode="after")
    def _one_way_to_the_text(self) -> Self:
        if self.text_column is not None and self.template is not None:
            raise ValueError("text_column and template exclude each other: give one of the two")
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


class PlainSettings(CommonSettings):
    """Text files: one, a folder of them, or a glob."""

    kind: Literal["plain"] = "plain"
    path: str = Field(min_length=1)
    """A file, a folder (read with all its folders; hidden files are skipped) or a glob."""
    split_by: Literal["auto", "file", "passages", "lines", "separator"] = "auto"
    """What a document is; auto: what lies between separator lines, or passages without them."""
    separator: str = Field(default=END_OF_TEXT, min_length=1)
    """What stands between two documents."""
    passage_chars: int = Field(default=4000, ge=16)
    """A passage is whole paragraphs, gathered until they have this many characters."""
    suffixes: tuple[str, ...] = (".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org")
    """How the names of a folder's files end (also before .gz or .zst)."""

    @field_validator("separator")
    @classmethod
    def _separator_is_in_a_line(cls, separator: str) -> str:
        if "\n" in separator or separator != separator.strip():
            raise ValueError("the separator must be one line without spaces at its ends")
        return separator


class JsonlSettings(ColumnSettings):
    """JSON: one object a line, or one array of objects; also .gz and .zst."""

    kind: Literal["jsonl"] = "jsonl"
    path: str = Field(min_length=1)
    """A file, a folder or a glob of .jsonl, .ndjson or .json files."""
    id_column: str | None = Field(default=None, min_length=1)
    """The column that names a document; without it, the file and a running number."""


class ParquetSettings(ColumnSettings):
    """Parquet files, read row group by row group."""

    kind: Literal["parquet"] = "parquet"
    path: str = Field(min_length=1)
    """A file, a folder or a glob of .parquet files."""
    id_column: str | None = Field(default=None, min_length=1)
    """The column that names a document; without it, the file and the row."""


class HubSettings(ColumnSettings):
    """A data set of the Hugging Face hub, downloaded once into the usual cache."""

    kind: Literal["hub"] = "hub"
    name: str = Field(min_length=1)
    """Owner and name, such as roneneldan/TinyStories."""
    config: str | None = None
    """Which configuration, where the set has several."""
    split: str = Field(default="train", min_length=1)
    """Which split."""
    revision: str | None = None
    """A branch, tag or commit; a commit makes the run repeatable."""
    data_files: str | tuple[str, ...] | None = None
    """Only these files of the set (globs)."""


SourceSettings: TypeAlias = Annotated[
    BuiltinSettings | PlainSettings | JsonlSettings | ParquetSettings | HubSettings,
    Field(discriminator="kind"),
]
