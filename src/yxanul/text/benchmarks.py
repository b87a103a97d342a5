"""The test sets that we know, and which of their texts training must not see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from yxanul.base.errors import YxanulError
from yxanul.base.tables import pick
from yxanul.text.config import ColumnSettings, HubSettings, JsonlSettings, ParquetSettings
from yxanul.text.documents import CAUSES, Dropped, Part
from yxanul.text.sources import Source, open_source

# Stands between two columns of a row on its way through a source; no text holds this sign.
_BETWEEN = "\x1f"
# What sources write between the items of a list.
_BETWEEN_ITEMS = "\n\n"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Where a test set is, and the way from its rows to texts."""

    hub: HubSettings
    """The set's place on the hub."""
    columns: tuple[tuple[str, ...], ...]
    """The columns that are read, and as often others that a file at hand may have instead."""
    texts: Callable[[Sequence[str]], Sequence[str]] = tuple
    """Makes texts of the columns' values; without it each value is one."""


def benchmark_texts(name: str, path: str | None = None) -> Iterator[str]:
    """Yield the texts of a benchmark's test set that are hunted, from a file or from the hub.

    A row that cannot be read is a YxanulError: half a test set protects nothing.
    """
    benchmark = pick(BENCHMARKS, name, "benchmark")
    source, parts = _opened(name, _ways_to_read(benchmark, path))
    for part in parts:
        for item in source.read(part):
            if isinstance(item, Dropped):
                what = f"the test set of {name}: {item.where} {CAUSES[item.cause]}"
                raise YxanulError(what, hint="mend the file, or leave its path out to use the hub")
            yield from benchmark.texts(item.text.split(_BETWEEN, len(benchmark.columns[0]) - 1))


def _ways_to_read(benchmark: Benchmark, path: str | None) -> Iterator[ColumnSettings]:
    for columns in benchmark.columns:
        template = _BETWEEN.join(f"{{{column}}}" for column in columns)
        if path is None:
            yield benchmark.hub.model_copy(update={"template": template})
            return
        kind = ParquetSettings if path.endswith(".parquet") else JsonlSettings
        yield kind(path=path, template=template)


def _opened(name: str, ways: Iterator[ColumnSettings]) -> tuple[Source, list[Part]]:
    """Return the source whose columns are there, and its parts."""
    problems: list[YxanulError] = []
    for settings in ways:
        source = open_source(name, settings)
        try:
            return source, source.parts()
        except YxanulError as problem:
            problems.append(problem)
    raise problems[0]


def _with_each_ending(values: Sequence[str]) -> Sequence[str]:
    context, endings = values
    return [f"{context} {ending}" for ending in endings.split(_BETWEEN_ITEMS)]


def _bare_question(values: Sequence[str]) -> Sequence[str]:
    """Return a question without the words that a prompt puts around it."""
    return [values[0].strip().removeprefix("Question:").removesuffix("Answer:").strip()]


BENCHMARKS: dict[str, Benchmark] = {
    "hellaswag": Benchmark(
        HubSettings(name="Rowan/hellaswag", split="validation"),
        (("ctx", "endings"),),
        _with_each_ending,
    ),
    "triviaqa": Benchmark(
        HubSettings(name="mandarjoshi/trivia_qa", config="rc.nocontext", split="validation"),
        (("question",), ("context",)),
        _bare_question,
    ),
    "gsm8k": Benchmark(
        HubSettings(name="openai/gsm8k", config="main", split="test"),
        (("question", "answer"),),
    ),
    "humaneval": Benchmark(
        HubSettings(name="openai/openai_humaneval", split="test"),
        (("prompt", "canonical_solution"),),
    ),
}
