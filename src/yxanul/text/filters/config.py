"""Settings of the filters; this file imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from yxanul.base.settings import Misfit, Settings

Shares: TypeAlias = dict[Annotated[int, Field(ge=1)], Annotated[float, Field(gt=0, le=1)]]


class LengthFilterSettings(Settings):
    """Documents of a sensible length."""

    kind: Literal["length"] = "length"
    min_chars: int | None = Field(default=None, ge=1)
    """Characters at least."""
    max_chars: int | None = Field(default=None, ge=1)
    """Characters at most."""
    min_tokens: int | None = Field(default=None, ge=1)
    """Tokens at least, without the end of text."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens at most, without the end of text."""

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        _check_bounds(self, "min_chars", "max_chars")
        _check_bounds(self, "min_tokens", "max_tokens")
        if all(value is None for name, value in self if name != "kind"):
            raise ValueError("a length filter needs one of its four bounds")
        return self


class ScoreFilterSettings(Settings):
    """Documents whose row has a number within bounds, such as a quality score."""

    kind: Literal["score"] = "score"
    column: str = Field(min_length=1)
    """The column of the number."""
    at_least: float | None = None
    """The lowest value that stays."""
    at_most: float | None = None
    """The highest value that stays."""

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a score filter needs at_least or at_most")
        _check_bounds(self, "at_least", "at_most")
        return self


class ValueFilterSettings(Settings):
    """Documents whose row has one of some values in a column, such as a set's own `source`."""

    kind: Literal["value"] = "value"
    column: str = Field(min_length=1)
    """The column that is looked at."""
    one_of: tuple[str | int | bool, ...] = Field(min_length=1)
    """The values that stay."""


class LanguageFilterSettings(Settings):
    """Documents in some languages, as a library guesses them from the text."""

    kind: Literal["language"] = "language"
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    """ISO 639-1 codes of the languages that stay."""
    at_least: float = Field(default=0.65, gt=0, le=1)
    """How probable the guess must be."""


class RepetitionFilterSettings(Settings):
    """Documents that do not repeat themselves: the rules of Gopher (Rae et al. 2021, table A1)."""

    kind: Literal["repetition"] = "repetition"
    duplicate_lines: float = Field(default=0.30, gt=0, le=1)
    """Highest share of lines that stood before."""
    duplicate_paragraphs: float = Field(default=0.30, gt=0, le=1)
    """Highest share of paragraphs that stood before."""
    duplicate_line_chars: float = Field(default=0.20, gt=0, le=1)
    """Highest share of characters in lines that stood before."""
    duplicate_paragraph_chars: float = Field(default=0.20, gt=0, le=1)
    """Highest share of characters in paragraphs that stood before."""
    top_ngram_chars: Shares = Field(default={2: 0.20, 3: 0.18, 4: 0.16})
    """By n: highest share of characters in the most frequent n-gram of words; other n are free."""
    duplicate_ngram_chars: Shares = Field(
        default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
    )
    """By n: highest share of characters in n-grams of words that occur more than once."""


class QualityFilterSettings(Settings):
    """Documents that a function of your own scores highly, such as a classifier."""

    kind: Literal["quality"] = "quality"
    function: str = Field(pattern=r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$")
    """The function, as file.py:name; it takes the texts of some documents and returns a number
    for each."""
    at_least: float
    """The lowest score that stays."""


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
        raise Misfit(f"{low} {least} and {high} {most} leave nothing", low, high)
