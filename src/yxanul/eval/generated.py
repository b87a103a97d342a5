"""Table of the tasks whose answers are generated, and their scores. Imports nothing heavy."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from statistics import fmean
from typing import Any, ClassVar, NamedTuple

from yxanul.base.errors import YxanulError
from yxanul.eval.answers import (
    HUMANEVAL_STOPS,
    MBPP_STOPS,
    humaneval_program,
    mbpp_program,
    mbpp_prompt,
    pass_at_k,
    score_gsm8k,
    score_triviaqa,
    triviaqa_aliases,
    triviaqa_prompt,
)
from yxanul.eval.questions import Row
from yxanul.eval.sandbox import ProgramResult
from yxanul.eval.tasks import Estimate, estimate, metric_facts

SHOT_SEED = 1234
"""Seed of the shots in lm-evaluation-harness."""


@dataclass(frozen=True, slots=True)
class GeneratedTask:
    """How a task asks, and how it judges: by `score`, or by running a `program`."""

    benchmark: str
    """Name in the table of test sets."""
    prompt: Callable[[Row], str]
    target: Callable[[Row], str]
    """Text that follows the prompt in a shot."""
    stop: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    documents: int = 0
    """Documents of the published test set."""
    max_tokens: int = 256
    num_fewshot: int | None = None
    """Solved documents before each question, if the task fixes their number."""
    shots: str | None = None
    """Set from which they come; absent: the other documents."""
    shot_ids: tuple[int, ...] = ()
    """`task_id` of the rows to use as shots, in order; absent: drawn for each document."""
    test_ids: range | None = None
    """`task_id` of the rows to ask; absent: all of them."""
    score: Callable[[Row, str], dict[str, float]] | None = None
    program: Callable[[Row, str], str] | None = None

    chance: ClassVar[float] = 0.0
    """Nobody guesses these answers."""

    def checked(self, row: Row) -> Row:
        """Return a row that can be asked and judged; raise as a parser of rows if it cannot."""
        self.prompt(row)
        self.target(row)
        judge = self.score or self.program
        assert judge, "a task has scores or programs"
        judge(row, "")
        return row


class Completions(NamedTuple):
    """What a model wrote after one prompt."""

    texts: tuple[str, ...]
    """One for each sample, up to its stop string."""
    cut_tokens: int = 0
    """Tokens of the prompt, from its start, that the model's context had no room for."""


@dataclass(frozen=True, slots=True)
class Record:
    """One document's prompt, completions and scores; for programs also how each ended."""

    prompt: str
    completions: Completions
    scores: dict[str, float]
    outcomes: tuple[ProgramResult, ...] = ()


@dataclass(frozen=True, slots=True)
class GeneratedResult:
    """Records and metrics of one task."""

    chance: ClassVar[float] = GeneratedTask.chance
    records: Sequence[Record]
    """By document, in the order of evaluation."""
    metrics: Mapping[str, Estimate]

    @property
    def num_cut(self) -> int:
        """Number of prompts whose beginning the context had no room for."""
        return sum(record.completions.cut_tokens > 0 for record in self.records)

    def values(self, metric: str) -> list[float]:
        """Return the metric of each document."""
        return [record.scores[metric] for record in self.records]

    def weights(self, metric: str) -> list[float]:
        """Return how much each document counts: all the same."""
        return [1.0] * len(self.records)

    def samples(self) -> Iterator[dict[str, Any]]:
        """Yield every answer with its prompt, the metrics of its document, and how it ran."""
        for number, record in enumerate(self.records):
            for index, text in enumerate(record.completions.texts):
                ran = {"outcome": asdict(record.outcomes[index])} if record.outcomes else {}
                yield {
                    "document": number,
                    "prompt": record.prompt,
                    "cut_tokens": record.completions.cut_tokens,
                    "answer": text,
                    **ran,
                    "metrics": record.scores,
                }

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics under their public names."""
        counts = {"documents": len(self.records), "chance": self.chance}
        return metric_facts(self.metrics) | counts | {"cut_prompts": self.num_cut}


def score_answers(
    task: GeneratedTask,
    documents: Sequence[Row],
    prompts: Sequence[str],
    answers: Sequence[Completions],
    execute: Callable[[Sequence[str]], Iterable[ProgramResult]],
) -> GeneratedResult:
    """Score the answers to all documents; `execute` runs the programs of a task that has some."""
    outcomes: list[tuple[ProgramResult, ...]] = [()] * len(answers)
    asked = list(zip(documents, answers, strict=True))
    if task.score is not None:
        scores = [_mean([task.score(doc, text) for text in own.texts]) for doc, own in asked]
    else:
        assert task.program, "a task has scores or programs"
        ran = iter(execute([task.program(doc, text) for doc, own in asked for text in own.texts]))
        outcomes = [tuple(islice(ran, len(own.texts))) for own in answers]
        scores = [_pass_rates(own) for own in outcomes]
    records = list(map(Record, prompts, answers, scores, outcomes))
    metrics = {name: estimate(name, [score[name] for score in scores]) for name in scores[0]}
    return GeneratedResult(records, metrics)


def build_prompts(
    task: GeneratedTask, documents: Sequence[Row], shots: Sequence[Row], num_fewshot: int
) -> list[str]:
    """Return the prompt of each document, after other documents of `shots`: some that are drawn, or
    those of `shot_ids`. YxanulError if there are too few."""
    if not num_fewshot:
        return [task.prompt(document) for document in documents]
    if task.shot_ids:
        by_id = {shot.get("task_id"): shot for shot in shots}
        shots = [by_id[number] for number in task.shot_ids if number in by_id]
    generator, prompts = random.Random(SHOT_SEED), []
    for document in documents:
        others = [shot for shot in shots if shot is not document]
        if len(others) < num_fewshot:
            what = f"{task.benchmark} has too few documents for its shots"
            raise YxanulError(what, got=len(others), expected=num_fewshot)
        drawn = others[:num_fewshot] if task.shot_ids else generator.sample(others, num_fewshot)
        before = [f"{task.prompt(shot)}{task.target(shot)}\n\n" for shot in drawn]
        prompts.append("".join(before) + task.prompt(document))
    return prompts


def _mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: fmean(score[name] for score in scores) for name in scores[0]}


def _pass_rates(outcomes: Sequence[ProgramResult]) -> dict[str, float]:
    n, passed = len(outcomes), sum(outcome.status == "passed" for outcome in outcomes)
    return {f"pass@{k}": pass_at_k(n, passed, k) for k in (1, 10, 100) if k <= n}


GENERATED_TASKS: dict[str, GeneratedTask] = {
    "gsm8k": GeneratedTask(
        "gsm8k",
        prompt=lambda document: f"Question: {document['question']}\nAnswer:",
        target=lambda document: f" {document['answer']}",
        stop=("Question:", "</s>", "<|im_end|>"),
        metrics=("exact_match_strict", "exact_match_flexible"),
        documents=1_319,
        num_fewshot=5,
        shots="gsm8k_train",
        score=score_gsm8k,
    ),
    "triviaqa": GeneratedTask(
        "triviaqa",
        prompt=triviaqa_prompt,
        target=lambda document: f" {triviaqa_aliases(document)[0]}",
        stop=("\n", ".", ","),
        metrics=("exact_match", "exact_match_original"),
        documents=17_944,
        score=score_triviaqa,
    ),
    "humaneval": GeneratedTask(
        "humaneval",
        prompt=lambda document: document["prompt"],
        target=lambda document: document["canonical_solution"],
        stop=HUMANEVAL_STOPS,
        metrics=("pass@1",),
        documents=164,
        max_tokens=1024,
        num_fewshot=0,
        program=humaneval_program,
    ),
    "mbpp": GeneratedTask(
        "mbpp",
        prompt=mbpp_prompt,
        target=lambda document: f"{document['code']}\n[DONE]",
        stop=MBPP_STOPS,
        metrics=("pass@1",),
        documents=500,
        num_fewshot=3,
        shots="mbpp_prompt",
        shot_ids=(2, 3, 4),
        test_ids=range(11, 511),
        program=mbpp_program,
    ),
}
"""Tasks by name."""
