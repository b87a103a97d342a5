"""Table of benchmark test sets, for decontamination and for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from yxanul.text.config import HubSettings


def all_strings(value: Any) -> Iterator[str]:
    """Yield every string in a row, also in lists and objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for item in value.values() for text in all_strings(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in all_strings(item))


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Location of a test set, and the texts in its rows."""

    hub: HubSettings | None = None
    """Dataset on the Hugging Face hub; the config * stands for all of them."""
    stems: tuple[str, ...] = ()
    """Other names of its file, without suffixes, than that of the benchmark."""
    is_folder: bool = False
    """Whether it is a folder of files."""
    texts: Callable[[Mapping[str, Any]], Iterator[str]] = all_strings
    """Returns the texts of a row that training text must not contain."""


def _hub(name: str, split: str, config: str | None = None) -> HubSettings:
    return HubSettings(name=name, split=split, config=config)


def string(row: Mapping[str, Any], column: str) -> str:
    """Return a column's text; raise ValueError if it has another value."""
    if not isinstance(row[column], str):
        raise ValueError(f"{column} is not text")
    return row[column]


def _with_each_ending(row: Mapping[str, Any]) -> Iterator[str]:
    context = string(row, "query" if "query" in row else "ctx")
    return (f"{context} {ending}" for ending in row["choices" if "query" in row else "endings"])


def _bare_question(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield a question without the "Question:" and "Answer:" of a prompt."""
    question = string(row, "context" if "question" not in row and "context" in row else "question")
    yield question.strip().removeprefix("Question:").removesuffix("Answer:").strip()


def _columns(*columns: str) -> Callable[[Mapping[str, Any]], Iterator[str]]:
    return lambda row: (string(row, column) for column in columns)


_ONLY_FILES = (
    "agi_eval_lsat_ar", "bigbench_cs_algorithms", "bigbench_dyck_languages",
    "bigbench_language_identification", "bigbench_operators", "bigbench_qa_wikidata",
    "bigbench_repeat_copy_logic", "coqa", "simple_arithmetic_nospaces",
    "simple_arithmetic_withspaces", "squad",
)  # fmt: skip

BENCHMARKS: dict[str, Benchmark] = {
    "hellaswag": Benchmark(
        _hub("Rowan/hellaswag", "validation"), ("hellaswag_val",), texts=_with_each_ending
    ),
    "triviaqa": Benchmark(
        _hub("mandarjoshi/trivia_qa", "validation", "rc.nocontext"),
        ("triviaqa_1500",),
        texts=_bare_question,
    ),
    "gsm8k": Benchmark(
        _hub("openai/gsm8k", "test", "main"), ("gsm8k_test",), texts=_columns("question", "answer")
    ),
    "humaneval": Benchmark(
        _hub("openai/openai_humaneval", "test"),
        ("HumanEval",),
        texts=_columns("prompt", "canonical_solution"),
    ),
    "mbpp": Benchmark(_hub("google-research-datasets/mbpp", "test", "full")),
    "arc_easy": Benchmark(_hub("allenai/ai2_arc", "test", "ARC-Easy")),
    "arc_challenge": Benchmark(_hub("allenai/ai2_arc", "test", "ARC-Challenge")),
    "piqa": Benchmark(_hub("baber/piqa", "validation")),
    "winogrande": Benchmark(_hub("allenai/winogrande", "validation", "winogrande_xl")),
    "winograd": Benchmark(stems=("winograd_wsc",)),
    "openbookqa": Benchmark(_hub("allenai/openbookqa", "test", "main"), ("openbook_qa",)),
    "copa": Benchmark(_hub("aps/super_glue", "validation", "copa")),
    "commonsense_qa": Benchmark(_hub("tau/commonsense_qa", "validation")),
    "boolq": Benchmark(_hub("aps/super_glue", "validation", "boolq")),
    "sciq": Benchmark(_hub("allenai/sciq", "test")),
    "lambada_openai": Benchmark(_hub("EleutherAI/lambada_openai", "test")),
    "blimp": Benchmark(_hub("nyu-mll/blimp", "train", "*"), is_folder=True),
    "wikitext": Benchmark(_hub("EleutherAI/wikitext_document_level", "test", "wikitext-2-raw-v1")),
    "jeopardy": Benchmark(stems=("jeopardy_all",)),
    **{name: Benchmark() for name in _ONLY_FILES},
    # Not test sets: the solved documents that come before questions.
    "gsm8k_train": Benchmark(_hub("openai/gsm8k", "train", "main")),
    "mbpp_prompt": Benchmark(_hub("google-research-datasets/mbpp", "prompt", "full"), ("mbpp",)),
}
