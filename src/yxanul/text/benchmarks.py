"""Table of benchmark test sets for decontamination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from yxanul.text.config import HubSettings

# Sources join the items of a list with this.
_BETWEEN_ITEMS = "\n\n"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Location of a test set, and how to extract texts from its rows."""

    hub: HubSettings
    """Dataset on the Hugging Face hub."""
    columns: tuple[tuple[str, ...], ...]
    """Columns to read, followed by alternatives that a local file may have instead."""
    texts: Callable[[Sequence[str]], Sequence[str]] = tuple
    """Converts the columns' values to texts; by default each value is a text."""


def _with_each_ending(values: Sequence[str]) -> Sequence[str]:
    context, endings = values
    return [f"{context} {ending}" for ending in endings.split(_BETWEEN_ITEMS)]


def _bare_question(values: Sequence[str]) -> Sequence[str]:
    """Return a question without the "Question:" and "Answer:" of a prompt."""
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
