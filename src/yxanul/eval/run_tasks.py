"""Zero- and few-shot evaluation: tasks in, metrics out. Imports nothing heavy."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from yxanul.base.errors import YxanulError
from yxanul.base.registry import lookup
from yxanul.base.ui import SilentUi, Ui
from yxanul.eval.generated import (
    GENERATED_TASKS,
    GeneratedResult,
    GeneratedTask,
    build_prompts,
    score_answers,
)
from yxanul.eval.questions import Question, Row
from yxanul.eval.sandbox import ProgramResult, check_code_allowed, run_programs
from yxanul.eval.tasks import (
    METRICS,
    TASKS,
    Answer,
    Estimate,
    Task,
    estimate,
    interval,
    metric_facts,
    weight,
)
from yxanul.generate.config import SampleSettings
from yxanul.text.benchmarks import BENCHMARKS

if TYPE_CHECKING:
    from yxanul.eval.cached_model import CachedModel
    from yxanul.model.language_model import LanguageModel
    from yxanul.tokenizer.tokenizer import Tokenizer

ORDER_SEED, SHOTS_SEED = 1337, 1234
"""Seeds of the order of documents, and (plus the document's index) of its shots: nanochat's."""
GREEDY = SampleSettings(temperature=0)
Item = TypeVar("Item")

AnyTask: TypeAlias = Task | GeneratedTask
ALL_TASKS: dict[str, AnyTask] = {**TASKS, **GENERATED_TASKS}
"""Every task by name."""

SUITES: dict[str, tuple[str, ...]] = {
    "small": (
        "blimp", "lambada_openai", "sciq", "arc_easy", "bigbench_qa_wikidata", "arithmetic",
        "gsm8k_gold", "humaneval_gold",
    ),
    "code": ("gsm8k", "humaneval", "mbpp"),
    "all": tuple(ALL_TASKS),
}  # fmt: skip
"""Tasks by suite; `small` are those that say something about a model under 70M parameters."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """How tasks are asked."""

    limit: int | None = None
    """Most documents of a task, drawn with a fixed seed; None: all."""
    num_fewshot: int = 0
    """Solved documents before each question."""
    seq_len: int | None = None
    """Most tokens that the model reads; None: its max_seq_len."""
    sampling: SampleSettings = GREEDY
    """How answers are generated; its max_tokens and stop strings are not used."""
    allow_code: bool = False
    """Whether programs that the model writes may run, isolated."""
    unsafe_code: bool = False
    """Whether they may run without isolation where the machine has none."""

    def shots(self, task: AnyTask) -> int:
        """Return the number of solved documents before each question of a task."""
        return self.num_fewshot if task.num_fewshot is None else task.num_fewshot


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
            name: estimate(
                name, [METRICS[name](a) for a in answers], [weight(name, a) for a in answers]
            )
            for name in task.metrics
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

    def weights(self, metric: str) -> list[float]:
        """Return how much each document counts in the metric."""
        return [weight(metric, answer) for answer in self.answers]

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
        counts = {"documents": len(self.answers), "chance": self.chance}
        groups = {"groups": self.groups} if self.groups else {}
        return metric_facts(self.metrics) | counts | groups


Result: TypeAlias = TaskResult | GeneratedResult
TaskMetrics: TypeAlias = tuple[dict[str, float], dict[str, tuple[float, float]]]
"""Metrics of tasks by name, and the 95 % confidence interval of each."""
PreparedTask: TypeAlias = "Callable[[CachedModel, Ui], Result]"
"""A task whose questions have been read: evaluates a model."""


def evaluate(
    model: LanguageModel,
    tokenizer: Tokenizer,
    tasks: Sequence[str],
    task_data: Path | str | None = None,
    options: TaskOptions | None = None,
    cache: Path | None = None,
    ui: Ui | None = None,
) -> dict[str, Result]:
    """Return the results of tasks by name (a key of `yxanul.eval.run_tasks.ALL_TASKS`).

    `task_data` is a folder with the tasks' files; without it they are loaded from the Hugging Face
    hub. Scores and answers are kept in the folder `cache`, if given, and read again by the same
    evaluation, also one that was interrupted. The model is in fp32 and in evaluation mode, as
    `open_bundle` loads it. Raises YxanulError for an unknown task, for files that cannot be read,
    and for a task that runs programs unless the options allow that.

        bundle = open_bundle(Path("runs/quickstart"))
        results = evaluate(bundle.model, bundle.tokenizer, ["blimp", "arc_easy"], "benchmarks")
        results["blimp"].metrics["accuracy"].value
    """
    from yxanul.eval.cached_model import CachedModel

    options = options or TaskOptions()
    rows = {name: lookup(ALL_TASKS, name, "task") for name in tasks}
    folder, ui = None if task_data is None else Path(task_data), ui or SilentUi()
    check_shots(rows, options, ui)
    check_possible(rows.values(), folder, options)
    cached = CachedModel(model, options.seq_len or model.settings.max_seq_len, cache)
    return {
        name: prepare_task(name, row, tokenizer, folder, options)(cached, ui)
        for name, row in rows.items()
    }


def named_results(results: Mapping[str, Result]) -> TaskMetrics:
    """Return the metrics `task/<name>/<metric>` of tasks, with standard errors."""
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    for task, result in results.items():
        for metric, found in result.metrics.items():
            name = f"task/{task}/{metric}"
            metrics |= {name: found.value, f"{name}_stderr": found.stderr}
            intervals[name] = interval(metric, found, len(result.values(metric)))
    return metrics, intervals


def described(metrics: Mapping[str, float]) -> str:
    """Return what `named_results` returned as text, with standard errors."""
    return ", ".join(
        f"{name.removeprefix('task/')} {value:.4g} +- {metrics[f'{name}_stderr']:.2g}"
        for name, value in metrics.items()
        if f"{name}_stderr" in metrics
    )


def check_possible(tasks: Collection[AnyTask], folder: Path | None, options: TaskOptions) -> None:
    """Raise YxanulError if a task's file is not in the folder (None: not on the hub), or if it runs
    programs, which the options or the machine do not allow."""
    if any(task.program is not None for task in tasks):
        check_code_allowed(options.allow_code, options.unsafe_code)
    for task in tasks:
        if missing := missing_sets(task, folder):
            raise _no_file(missing[0], folder)


def check_shots(tasks: Mapping[str, AnyTask], options: TaskOptions, ui: Ui) -> None:
    """Raise YxanulError for a task that `limit` leaves too few documents for its shots; warn of
    those that `num_fewshot` does not change."""
    for name, task in tasks.items():
        if options.limit is not None and task.shots is None:
            _check_count(name, options.limit, options.shots(task))
    fixed = [n for n, task in tasks.items() if task.num_fewshot not in (None, options.num_fewshot)]
    if options.num_fewshot and fixed:
        ui.warn(
            f"--num-fewshot is ignored by tasks with a fixed number of shots: {', '.join(fixed)}"
        )


def _check_count(name: str, num_documents: int, shots: int) -> None:
    if shots >= num_documents:
        what = f"{name} has too few documents for {shots} shots"
        hint = (
            "shots are drawn from the documents within the limit: raise it, or ask for fewer shots"
        )
        raise YxanulError(what, got=num_documents, hint=hint)


def prepare_task(
    name: str, task: AnyTask, tokenizer: Tokenizer, folder: Path | None, options: TaskOptions
) -> PreparedTask:
    """Read a task's questions and lay them out."""
    if isinstance(task, GeneratedTask):
        return _prepare_generated(name, task, tokenizer, folder, options)
    return _prepare(name, task, tokenizer, folder, options)


def _prepare(
    name: str, task: Task, tokenizer: Tokenizer, folder: Path | None, options: TaskOptions
) -> PreparedTask:
    questions = limited(read_rows(task.benchmark, folder, task.parse), options.limit)
    shots = [
        "".join(f"{_solved(questions[n], task.delimiter)}\n\n" for n in numbers)
        for numbers in shots_by_document(len(questions), options.shots(task), name)
    ]
    requests = [
        task.ask(tokenizer, question, text, task.delimiter)
        for question, text in zip(questions, shots, strict=True)
    ]
    flat = [request for some in requests for request in some]

    def run(cached: CachedModel, ui: Ui) -> TaskResult:
        with ui.task(name, len(flat), "requests") as bar:
            scores = iter(cached.score(flat, bar))
        answers = []
        for question, some, text in zip(questions, requests, shots, strict=True):
            nats, greedy = zip(*(next(scores) for _ in some), strict=True)
            num_tokens = [len(request.continuation) for request in some]
            answers.append(Answer(question, nats, greedy, num_tokens, text))
        return TaskResult.of(task, answers)

    return run


def _prepare_generated(
    name: str, task: GeneratedTask, tokenizer: Tokenizer, folder: Path | None, options: TaskOptions
) -> PreparedTask:
    rows = read_rows(task.benchmark, folder, task.checked)
    if task.test_ids is not None:
        rows = [row for row in rows if row.get("task_id") in task.test_ids]
        if not rows:
            first, last = task.test_ids[0], task.test_ids[-1]
            what = f"the test set of {name} has none of its documents"
            raise YxanulError(what, expected=f"a task_id from {first} to {last}")
    rows = limited(rows, options.limit)
    shots = rows if task.shots is None else read_rows(task.shots, folder, task.checked)
    prompts = build_prompts(task, rows, shots, options.shots(task))

    def run(cached: CachedModel, ui: Ui) -> GeneratedResult:
        def execute(programs: Sequence[str]) -> list[ProgramResult]:
            isolated = check_code_allowed(options.allow_code, options.unsafe_code)
            with ui.task(f"{name}: run programs", len(programs), "programs") as bar:
                return run_programs(programs, isolated=isolated, bar=bar)

        with ui.task(name, len(prompts), "documents") as bar:
            answers = cached.answer(tokenizer, options.sampling, task, prompts, bar)
        result = score_answers(task, rows, prompts, answers, execute)
        if result.num_cut:
            said = f"{result.num_cut} of {len(rows)} prompts lost their beginning"
            ui.warn(f"{name}: {said}: a context of {cached.seq_len} tokens has no room for them")
        return result

    return run


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


def _no_file(benchmark: str, folder: Path | None) -> YxanulError:
    expected, place = _file_of(benchmark), folder or "the hub"
    hint = None if folder else "give a folder with it: --task-data DIR, or eval.task_data"
    return YxanulError(f"{place} has no test set of {benchmark}", expected=expected, hint=hint)


def _file_of(benchmark: str) -> str:
    stem = [benchmark, *BENCHMARKS[benchmark].stems][-1]
    kind = f"a folder {stem} of" if BENCHMARKS[benchmark].is_folder else f"{stem} as"
    return f"{kind} .jsonl, .jsonl.gz or .parquet"


def split_by_file(tasks: Mapping[str, AnyTask], folder: Path | None) -> tuple[list[str], list[str]]:
    """Return the names of the tasks whose sets are in the folder (None: on the hub), and of the
    others."""
    found = {name: not missing_sets(task, folder) for name, task in tasks.items()}
    return [name for name in found if found[name]], [name for name in found if not found[name]]


def missing_sets(task: AnyTask, folder: Path | None) -> list[str]:
    """Return the sets of a task that are not in the folder (None: not on the hub)."""
    from yxanul.text.benchmark_rows import find_benchmark

    sets = [task.benchmark] if task.shots is None else [task.benchmark, task.shots]
    if folder is None:
        return [name for name in sets if BENCHMARKS[name].hub is None]
    return [name for name in sets if find_benchmark(name, folder) is None]


def limited(items: list[Item], limit: int | None) -> list[Item]:
    """Return the items in random order, which is always the same; at most `limit`."""
    items = list(items)
    random.Random(ORDER_SEED).shuffle(items)
    return items[:limit]


def shots_by_document(count: int, num_fewshot: int, name: str) -> Iterator[list[int]]:
    """Yield the indices of other documents that each of `count` documents has as shots."""
    _check_count(name, count, num_fewshot)
    for index in range(count):
        drawn = random.Random(SHOTS_SEED + index).sample(range(count - 1), num_fewshot)
        yield [n + (n >= index) for n in drawn]


def _solved(question: Question, delimiter: str) -> str:
    return delimiter.join(question.choice(question.gold))
