"""Settings of the data: which text, how much of it is held out, how it is encoded."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from yxanul.base.errors import YxanulError
from yxanul.base.registry import lookup
from yxanul.base.settings import Misfit, Settings
from yxanul.text.benchmarks import BENCHMARKS
from yxanul.text.config import CommonSettings, SourceSettings
from yxanul.text.dedup.config import DeduplicateSettings
from yxanul.text.filters.config import FilterSettings


class BenchmarkSettings(Settings):
    """Where the test set of a benchmark is."""

    path: str | None = Field(default=None, min_length=1)
    """Its test set in a file (jsonl or parquet); left out: from the hub."""


class DecontaminateSettings(Settings):
    """The benchmarks whose test sets training must not see."""

    benchmarks: dict[str, BenchmarkSettings]
    """By name: gsm8k, hellaswag, humaneval, triviaqa."""

    @model_validator(mode="before")
    @classmethod
    def _is_no_switch(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise Misfit("must name benchmarks, such as {benchmarks: {gsm8k: {}}}, or be null")
        return value

    @field_validator("benchmarks")
    @classmethod
    def _are_known(cls, benchmarks: dict[str, BenchmarkSettings]) -> dict[str, BenchmarkSettings]:
        for name in benchmarks:
            try:
                lookup(BENCHMARKS, name, "benchmark")
            except YxanulError as error:
                raise Misfit(str(error), name) from None
        return benchmarks


class DataSettings(Settings):
    """The text of a run, source by source."""

    sources: dict[str, SourceSettings] = Field(min_length=1)
    """Where text comes from, each under a name that mixes and results use."""
    validation_fraction: float = Field(default=0.02, gt=0, lt=1)
    """The share of documents that is held out of training, in every source."""
    filters: tuple[FilterSettings, ...] = ()
    """What documents must have, in every source that has no filters of its own."""
    deduplicate: DeduplicateSettings | None = None
    """Leave out copies of documents, within sources and between them; left out: none."""
    decontaminate: DecontaminateSettings | None = None
    """Leave documents out that share 13 words in a row with the test set of a benchmark; left out:
    none."""
    executor: Literal["processes", "ray"] = "processes"
    """Who encodes: processes of this machine, or a Ray cluster."""
    workers: int | None = Field(default=None, ge=1)
    """Processes that encode text; left out: one for each core."""
    shuffle_tokens: int = Field(default=1 << 25, gt=0)
    """Documents are shuffled within groups of parts that hold so many tokens."""
    overlap_prepare: bool = True
    """`run` trains as soon as the first group of parts is encoded, and encodes the rest beside."""
    folder: str | None = None
    """Where encoded text is kept: a folder outside of the run is shared between runs, an fsspec
    address (s3://bucket/corpus, file:///mnt/shared/corpus) between machines."""

    @field_validator("sources")
    @classmethod
    def _names_are_folders(cls, sources: dict[str, SourceSettings]) -> dict[str, SourceSettings]:
        for name in sources:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
                raise Misfit(
                    f"'{name}' cannot name a source: letters, digits, _ - and . make names", name
                )
        lower = [name.lower() for name in sources]
        if twins := [name for name in sources if lower.count(name.lower()) > 1]:
            raise Misfit(
                f"{' and '.join(twins)} differ in upper and lower case only", *reversed(twins)
            )
        return sources

    @model_validator(mode="after")
    def _filters_are_for_some_source(self) -> DataSettings:
        if self.filters and all(one.filters is not None for one in self.sources.values()):
            raise Misfit(
                "data.filters are for sources that have none of their own, and every source has",
                "filters",
            )
        return self

    @property
    def benchmarks(self) -> dict[str, str | None]:
        """The file of each benchmark's test set that training must not see; None is the hub's."""
        named = self.decontaminate.benchmarks if self.decontaminate else {}
        return {name: one.path for name, one in named.items()}

    def source(self, name: str) -> CommonSettings:
        """Return the settings of a source, with the filters that it has or takes over."""
        own = self.sources[name]
        return own if own.filters is not None else own.model_copy(update={"filters": self.filters})
