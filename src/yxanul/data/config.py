"""Settings of the data: sources, the held-out split, and how text is tokenized into shards."""

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
    """Location of a benchmark's test set."""

    path: str | None = Field(default=None, min_length=1)
    """The test set in a file (jsonl or parquet); default: from the hub."""


class DecontaminateSettings(Settings):
    """Benchmarks whose test sets must not occur in the training text."""

    benchmarks: dict[str, BenchmarkSettings]
    """Benchmarks by name, such as gsm8k, hellaswag, humaneval or triviaqa."""

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
    """The text of a run."""

    sources: dict[str, SourceSettings] = Field(min_length=1)
    """Sources by name; mixes and results use these names."""
    validation_fraction: float = Field(default=0.02, gt=0, lt=1)
    """Fraction of each source's documents in the held-out (validation) split."""
    filters: tuple[FilterSettings, ...] = ()
    """Filters for every source that has none of its own."""
    deduplicate: DeduplicateSettings | None = None
    """Drop duplicate documents, within and across sources; default: keep them."""
    decontaminate: DecontaminateSettings | None = None
    """Drop documents that share a 13-gram of words with a benchmark's test set; default: keep
    them."""
    executor: Literal["processes", "ray"] = "processes"
    """Where text is tokenized: in processes of this machine, or on a Ray cluster."""
    workers: int | None = Field(default=None, ge=1)
    """Worker processes that tokenize text; default: one per core."""
    shuffle_tokens: int = Field(default=1 << 25, gt=0)
    """Documents are shuffled within groups of shards of at least this many tokens."""
    overlap_prepare: bool = True
    """`run` starts training once the first group of shards is encoded, and encodes the rest in
    the background."""
    folder: str | None = None
    """Where shards are kept; default: in the run folder. A folder outside it is shared between
    runs, an fsspec address (s3://bucket/corpus, file:///mnt/shared/corpus) between machines."""

    @field_validator("sources")
    @classmethod
    def _names_are_folders(cls, sources: dict[str, SourceSettings]) -> dict[str, SourceSettings]:
        for name in sources:
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
                raise Misfit(f"invalid source name '{name}': use letters, digits, _, - and .", name)
        lower = [name.lower() for name in sources]
        if same := [name for name in sources if lower.count(name.lower()) > 1]:
            raise Misfit(f"source names {' and '.join(same)} differ only in case", *reversed(same))
        return sources

    @model_validator(mode="after")
    def _filters_are_for_some_source(self) -> DataSettings:
        if self.filters and all(source.filters is not None for source in self.sources.values()):
            raise Misfit(
                "data.filters has no effect: every source has filters of its own",
                "filters",
            )
        return self

    @property
    def benchmarks(self) -> dict[str, str | None]:
        """Test-set file of each benchmark to decontaminate against; None: from the hub."""
        named = self.decontaminate.benchmarks if self.decontaminate else {}
        return {name: benchmark.path for name, benchmark in named.items()}

    def source(self, name: str) -> CommonSettings:
        """Return the settings of a source, with data.filters if it has none of its own."""
        own = self.sources[name]
        return own if own.filters is not None else own.model_copy(update={"filters": self.filters})
