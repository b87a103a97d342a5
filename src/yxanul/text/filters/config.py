"""Settings of the filters. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from yxanul.base.settings import Misfit, Settings

Shares: TypeAlias = dict[Annotated[int, Field(ge=1)], Annotated[float, Field(gt=0, le=1)]]


class LengthFilterSettings(Settings):
    """Keeps documents by length."""

    kind: Literal["length"] = "length"
    min_chars: int | None = Field(default=None, ge=1)
    """Minimum number of characters."""
    max_chars: int | None = Field(default=None, ge=1)
    """Maximum number of characters."""
    min_tokens: int | None = Field(default=None, ge=1)
    """Minimum number of tokens, not counting end of text."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Maximum number of tokens, not counting end of text."""

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        _check_bounds(self, "min_chars", "max_chars")
        _check_bounds(self, "min_tokens", "max_tokens")
        if all(value is None for name, value in self if name != "kind"):
            raise ValueError("a length filter needs at least one of its four bounds")
        return self


class ScoreFilterSettings(Settings):
    """Keeps documents by a numeric column, such as a quality score."""

    kind: Literal["score"] = "score"
    column: str = Field(min_length=1)
    """Column with the number."""
    at_least: float | None = None
    """Minimum value."""
    at_most: float | None = None
    """Maximum value."""

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a score filter needs at_least or at_most")
        _check_bounds(self, "at_least", "at_most")
        return self


class ValueFilterSettings(Settings):
    """Keeps documents by a categorical column, such as a dataset's own `source`."""

    kind: Literal["value"] = "value"
    column: str = Field(min_length=1)
    """Column with the value."""
    one_of: tuple[str | int | bool, ...] = Field(min_length=1)
    """Allowed values."""


class LanguageFilterSettings(Settings):
    """Keeps documents by language, identified from the text by a library."""

    kind: Literal["language"] = "language"
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    """ISO 639-1 codes of the allowed languages."""
    at_least: float = Field(default=0.65, gt=0, le=1)
    """Minimum probability of the identified language."""


class RepetitionFilterSettings(Settings):
    """Drops repetitive documents by the rules of Gopher (Rae et al. 2021, table A1)."""

    kind: Literal["repetition"] = "repetition"
    duplicate_lines: float = Field(default=0.30, gt=0, le=1)
    """Maximum share of duplicate lines."""
    duplicate_paragraphs: float = Field(default=0.30, gt=0, le=1)
    """Maximum share of duplicate paragraphs."""
    duplicate_line_chars: float = Field(default=0.20, gt=0, le=1)
    """Maximum share of characters in duplicate lines."""
    duplicate_paragraph_chars: float = Field(default=0.20, gt=0, le=1)
    """Maximum share of characters in duplicate paragraphs."""
    top_ngram_chars: Shares = Field(default={2: 0.20, 3: 0.18, 4: 0.16})
    """By n: maximum share of characters in the most frequent word n-gram; other n are not
    checked."""
    duplicate_ngram_chars: Shares = Field(
        default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    )
    """By n: maximum share of characters in word n-grams that occur more than once."""


class QualityFilterSettings(Settings):
    """Keeps documents by the score of a user-defined function, such as a classifier."""

    kind: Literal["quality"] = "quality"
    function: str = Field(pattern=r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$")
    """Function as file.py:name; takes a list of texts and returns a score for each."""
    at_least: float
    """Minimum score."""


FilterSettings: TypeAlias = Annotated[
    LengthFilterSettings
    | ScoreFilterSettings
    | ValueFilterSettings
    | LanguageFilterSettings
    | RepetitionFilterSettings
    | QualityFilterSettings,
    Field(discriminator="kind"),
]


def _check_bounds(settings: Settings, low: str, high: str) -> None:
    least, most = getattr(settings, low), getattr(settings, high)
    if least is not None and most is not None and least > most:
        raise Misfit(f"{low} {least} is greater than {high} {most}", low, high)
