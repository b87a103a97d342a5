"""Zero- and few-shot evaluation: tasks in, metrics out. Imports nothing heavy."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from yxanul.base.errors import YxanulError
from yxanul.base.registry import lookup
from yxanul.base.ui import SilentUi, Ui
from yxanul.eval.questions import Question, Row
from yxanul.eval.tasks import METRICS, TASKS, Answer, Estimate, Task, estimate

if TYPE_CHECKING:
    from yxanul.eval.score_cache import Scorer
    from yxanul.model.language_model import LanguageModel
    from yxanul.tokenizer.tokenizer import Tokenizer

ORDER_SEED, SHOTS_SEED = 1337, 1234
"""Seeds of the order of documents, and (plus the document's index) of its shots: nanochat's."""
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How tasks are asked."""

    limit: int | None = None
    """Most documents of a task, drawn with a fixed seed; None: all."""
    num_fewshot: int = 0
    """Solved documents before each question."""
    seq_len: int | None = None
    """Most tokens that the model reads; None: its max_seq_len."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """Metrics of one task."""

    answers: Sequence[Answer]
    """Scores by document, in the order of evaluation."""
    metrics: Mapping[str, Estimate]
    chance: float | None
    """Accuracy of guessing; None for a task without accuracy."""

    @classmethod
    def of(cls, task: Task, answers: Sequence[Answer]) -> TaskResult:
        """Return the metrics of a task's answers."""
        metrics = {
            name: estimate(name, [METRICS[name](a) for a in answers]) for name in task.metrics
        }
        chance = None
        if any(name.startswith("accuracy") for name in metrics):
            counts = [answer.question.num_choices for answer in answers]
            guessed = sum(1 / count for count in counts if count > 1) / len(counts)
            chance = max(guessed, task.baseline)
        return cls(answers, metrics, chance)

    def values(self, metric: str) -> list[float]:
        """Return the metric of each document."""
        return [METRICS[metric](answer) for answer in self.answers]

    @property
    def groups(self) -> dict[str, float]:
        """Accuracy by part of the set; empty if it has no parts."""
        by_group: dict[str, list[float]] = {}
        for answer in self.answers:
            if answer.question.group:
                by_group.setdefault(answer.question.group, []).append(METRICS["accuracy"](answer))
        return {group: sum(values) / len(values) for group, values in sorted(by_group.items())}

    def samples(self) -> Iterator[dict[str, Any]]:
        """Yield every request with its score, and the metrics of its document."""
        for number, answer in enumerate(self.answers):
            question = answer.question
            metrics = {name: METRICS[name](answer) for name in self.metrics}
            for choice, nats in enumerate(answer.nats):
                context, continuation = question.choice(choice)
                yield {
                    "document": number,
                    "context": answer.shots + context,
                    "continuation": continuation,
                    "is_gold": choice == question.gold,
                    "log_likelihood": nats,
                    "is_greedy": answer.greedy[choice],
                    "metrics": metrics,
                }

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics under their public names."""
        facts: dict[str, Any] = {}
        for number, (name, (value, stderr)) in enumerate(self.metrics.items()):
            facts |= {name: value, f"{name}_stderr" if number else "stderr": stderr}
        facts |= {"documents": len(self.answers), "chance": self.chance}
        return facts | ({"groups": groups} if (groups := self.groups) else {})


def evaluate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    tasks: Sequence[str],
    task_data: Path | str | None = None,
    options: TaskOptions | None = None,
    cache: Path | None = None,
    ui: Ui | None = None,
) -> dict[str, TaskResult]:
    """Return the results of tasks by name (a key of `yxanul.eval.tasks.TASKS`).

    `task_data` is a folder with the tasks' files; without it they are loaded from the Hugging Face
    hub. Scores are kept in the folder `cache`, if given, and read again by the same evaluation,
    also one that was interrupted. The model is in fp32 and in evaluation mode, as `open_bundle`
    loads it. Raises YxanulError for an unknown task and for files that cannot be read.

        bundle = open_bundle(Path("runs/quickstart"))
        results = evaluate(bundle.model, bundle.tokenizer, ["blimp", "arc_easy"], "benchmarks")
        results["blimp"].metrics["accuracy"].value
    """
    from yxanul.eval.score_cache import Scorer

    options = options or TaskOptions()
    scorer = Scorer(model, options.seq_len or model.settings.max_seq_len, cache)
    folder = None if task_data is None else Path(task_data)
    rows = {name: lookup(TASKS, name, "task") for name in tasks}
    if folder is not None and (missing := split_by_file(rows, folder)[1]):
        raise _no_file(rows[missing[0]].benchmark, folder)
    ui = ui or SilentUi()
    return {n: run_task(n, row, scorer, tokenizer, folder, options, ui) for n, row in rows.items()}


def run_task(
    name: str,
    task: Task,
    scorer: Scorer,
    tokenizer: Tokenizer,
    folder: Path | None,
    options: TaskOptions,
    ui: Ui,
) -> TaskResult:
    """Evaluate one task."""
    questions = limited(read_rows(task.benchmark, folder, task.parse), options.limit)
    num_fewshot = options.num_fewshot if task.num_fewshot is None else task.num_fewshot
    shots = [
        "".join(f"{_solved(questions[n], task.delimiter)}\n\n" for n in numbers)
        for numbers in shots_by_document(len(questions), num_fewshot, name)
    ]
    requests = [
        task.ask(tokenizer, question, text, task.delimiter)
        for question, text in zip(questions, shots, strict=True)
    ]
    flat = [request for some in requests for request in some]
    with ui.task(name, len(flat), "requests") as bar:
        scores = iter(scorer.score(flat, bar))
    answers = []
    for question, some, text in zip(questions, requests, shots, strict=True):
        nats, greedy = zip(*(next(scores) for _ in some), strict=True)
        num_tokens = [len(request.continuation) for request in some]
        answers.append(Answer(question, nats, greedy, num_tokens, text))
    return TaskResult.of(task, answers)


def read_rows(benchmark: str, folder: Path | None, parse: Callable[[Row], Item]) -> list[Item]:
    """Return the parsed rows of a test set, from its file in the folder, or else from the hub."""
    from yxanul.text.benchmark_rows import find_benchmark, read_benchmark

    if folder is not None:
        path = find_benchmark(benchmark, folder)
        if path is None:
            raise _no_file(benchmark, folder)
        return list(read_benchmark(benchmark, str(path), parse))
    try:
        return list(read_benchmark(benchmark, None, parse))
    except YxanulError as error:
        hint = f"or give a folder with {_file_of(benchmark)}: --task-data DIR"
        what = f"cannot load the test set of {benchmark} from the hub: {error.what}"
        raise YxanulError(what, got=error.got, hint=hint) from None


def _no_file(benchmark: str, folder: Path) -> YxanulError:
    expected = _file_of(benchmark)
    return YxanulError(f"{folder} has no test set of {benchmark}", expected=expected)


def _file_of(benchmark: str) -> str:
    from yxanul.text.benchmarks import BENCHMARKS

    stem = [benchmark, *BENCHMARKS[benchmark].stems][-1]
    kind = f"a folder {stem} of" if BENCHMARKS[benchmark].is_folder else f"{stem} as"
    return f"{kind} .jsonl, .jsonl.gz or .parquet"


def split_by_file(tasks: Mapping[str, Task], folder: Path | None) -> tuple[list[str], list[str]]:
    """Return the names of the tasks whose test set is in the folder (None: on the hub), and of the
    others."""
    from yxanul.text.benchmark_rows import find_benchmark
    from yxanul.text.benchmarks import BENCHMARKS

    def is_there(benchmark: str) -> bool:
        if folder is None:
            return BENCHMARKS[benchmark].hub is not None
        return find_benchmark(benchmark, folder) is not None

    found = {name: is_there(task.benchmark) for name, task in tasks.items()}
    return [name for name in found if found[name]], [name for name in found if not found[name]]


def limited(items: list[Item], limit: int | None) -> list[Item]:
    """Return the items in random order, which is always the same; at most `limit`."""
    items = list(items)
    random.Random(ORDER_SEED).shuffle(items)
    return items[:limit]


def shots_by_document(count: int, num_fewshot: int, name: str) -> Iterator[list[int]]:
    """Yield the indices of other documents that each of `count` documents has as shots."""
    if num_fewshot >= count:
        raise YxanulError(f"{name} has too few documents for {num_fewshot} shots", got=count)
    for index in range(count):
        drawn = random.Random(SHOTS_SEED + index).sample(range(count - 1), num_fewshot)
        yield [n + (n >= index) for n in drawn]


def _solved(question: Question, delimiter: str) -> str:
    return delimiter.join(question.choice(question.gold))
