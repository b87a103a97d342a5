"""CORE: the mean over 22 tasks of accuracies above chance (DCLM, arXiv 2406.11794), computed as
nanochat does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yxanul.base.ui import SilentUi, Ui
from yxanul.eval.questions import Question, Row, core_row, hellaswag
from yxanul.eval.requests import ask_core
from yxanul.eval.run_tasks import Result, TaskOptions, check_shots, prepare_task, split_by_file
from yxanul.eval.tasks import Task

if TYPE_CHECKING:
    from yxanul.model.language_model import LanguageModel
    from yxanul.tokenizer.tokenizer import Tokenizer


def _choices(row: Row) -> Question:
    return hellaswag(row) if "endings" in row else core_row(row)


def _answer(row: Row) -> Question:
    question = core_row(row)
    return Question((question.contexts[0].strip(),), question.continuations)


_PARSE = {"mc": _choices, "schema": core_row, "lm": _answer}


def _task(benchmark: str, kind: str, shots: int, baseline: float, delimiter: str = " ") -> Task:
    metric = "accuracy" if kind == "lm" else "accuracy_per_token"
    return Task(
        benchmark,
        _PARSE[kind],
        (metric,),
        baseline=baseline,
        delimiter=delimiter,
        num_fewshot=shots,
        ask=ask_core,
    )


_ANSWER = "\nAnswer: "

CORE: dict[str, Task] = {
    "hellaswag_zeroshot": _task("hellaswag", "mc", 0, 0.25),
    "jeopardy": _task("jeopardy", "lm", 10, 0.0, _ANSWER),
    "bigbench_qa_wikidata": _task("bigbench_qa_wikidata", "lm", 10, 0.0),
    "arc_easy": _task("arc_easy", "mc", 10, 0.25, _ANSWER),
    "arc_challenge": _task("arc_challenge", "mc", 10, 0.25, _ANSWER),
    "copa": _task("copa", "mc", 0, 0.5),
    "commonsense_qa": _task("commonsense_qa", "mc", 10, 0.403),
    "piqa": _task("piqa", "mc", 10, 0.5, _ANSWER),
    "openbook_qa": _task("openbookqa", "mc", 0, 0.25),
    "lambada_openai": _task("lambada_openai", "lm", 0, 0.0),
    "hellaswag": _task("hellaswag", "mc", 10, 0.25),
    "winograd": _task("winograd", "schema", 0, 0.5),
    "winogrande": _task("winogrande", "schema", 0, 0.5),
    "bigbench_dyck_languages": _task("bigbench_dyck_languages", "lm", 10, 0.0),
    "agi_eval_lsat_ar": _task("agi_eval_lsat_ar", "mc", 3, 0.25),
    "bigbench_cs_algorithms": _task("bigbench_cs_algorithms", "lm", 10, 0.0),
    "bigbench_operators": _task("bigbench_operators", "lm", 10, 0.0),
    "bigbench_repeat_copy_logic": _task("bigbench_repeat_copy_logic", "lm", 10, 0.0),
    "squad": _task("squad", "lm", 10, 0.0),
    "coqa": _task("coqa", "lm", 0, 0.0),
    "boolq": _task("boolq", "mc", 10, 0.62, _ANSWER),
    "bigbench_language_identification": _task("bigbench_language_identification", "mc", 10, 0.25),
}
"""Tasks by label."""


def evaluate_core(
    model: LanguageModel,
    tokenizer: Tokenizer,
    task_data: Path | str,
    options: TaskOptions | None = None,
    cache: Path | None = None,
    ui: Ui | None = None,
) -> dict[str, Result]:
    """Return the results of the tasks of CORE whose files are in the folder, by label.

    Shots, seeds and layouts are nanochat's; `options.num_fewshot` is not used. Arguments otherwise
    as in `evaluate`.
    """
    from yxanul.eval.cached_model import CachedModel

    options = options or TaskOptions()
    # The last target counts too when nanochat cuts a prompt.
    cached = CachedModel(model, options.seq_len or model.settings.max_seq_len, cache)
    cached.seq_len -= 1
    folder, ui = Path(task_data), ui or SilentUi()
    present, _ = split_by_file(CORE, folder)
    check_shots({label: CORE[label] for label in present}, options, ui)
    return {
        label: prepare_task(label, CORE[label], tokenizer, folder, options)(cached, ui)
        for label in present
    }


def centered(label: str, result: Result) -> float:
    """Return the accuracy above chance as a share of what is possible: 0 is guessing, 1 perfect."""
    (accuracy,) = result.metrics.values()
    return (accuracy.value - CORE[label].baseline) / (1 - CORE[label].baseline)


def core_summary(results: Mapping[str, Result]) -> dict[str, Any]:
    """Return the mean of the centered accuracies of the tasks at hand, and which are missing.

    `core` is the published figure: None unless all tasks are there.
    """
    scores = {label: centered(label, result) for label, result in results.items()}
    missing = [label for label in CORE if label not in scores]
    mean = sum(scores.values()) / len(scores) if scores else None
    return {
        "core": None if missing else mean,
        "mean_of_present": mean,
        "centered": scores,
        "missing": missing,
    }
