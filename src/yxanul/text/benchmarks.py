"""The table of benchmarks: where each test set is, and what its rows say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from yxanul.text.config import HubSettings

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
