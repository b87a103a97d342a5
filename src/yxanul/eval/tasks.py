"""Table of the tasks scored by log-likelihood, and their metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from yxanul.eval import questions
from yxanul.eval.questions import Question, Row
from yxanul.eval.requests import Ask, ask

CHOICE = ("accuracy", "accuracy_norm")
ANSWER = ("accuracy", "perplexity")


@dataclass(frozen=True, slots=True)
class Task:
    """What a task asks of a test set, and how answers are judged."""

    benchmark: str
    """Name in the table of test sets."""
    parse: Callable[[Row], Question]
    metrics: tuple[str, ...] = CHOICE
    documents: int = 0
    """Documents of the published test set."""
    choices: int = 4
    """Choices of most of its questions; 1: the model's answer is right or wrong."""
    baseline: float = 0.0
    """Accuracy of guessing, if it is above 1 / choices: the share of the largest class."""
    delimiter: str = " "
    """Between context and continuation."""
    num_fewshot: int | None = None
    """Solved documents before each question, if the task fixes their number."""
    ask: Ask = ask
    """Makes the requests of a question."""

    @property
    def chance(self) -> float:
        """Accuracy of guessing, for most of the questions."""
        return self.baseline or (1 / self.choices if self.choices > 1 else 0.0)


_ACCURACY = ("accuracy",)
_BITS = ("bits_per_byte",)
_Z = 1.96
"""Standard errors on each side of a 95 % interval."""

TASKS: dict[str, Task] = {
    "hellaswag": Task("hellaswag", questions.hellaswag, CHOICE, 10_042),
    "arc_easy": Task("arc_easy", questions.ai2_arc, CHOICE, 2_376),
    "arc_challenge": Task("arc_challenge", questions.ai2_arc, CHOICE, 1_172),
    "piqa": Task("piqa", questions.piqa, CHOICE, 1_838, 2),
    "winogrande": Task("winogrande", questions.winogrande, _ACCURACY, 1_267, 2),
    "winograd": Task("winograd", questions.core_row, _ACCURACY, 273, 2),
    "openbookqa": Task("openbookqa", questions.openbookqa, CHOICE, 500),
    "copa": Task("copa", questions.copa, _ACCURACY, 100, 2),
    "commonsense_qa": Task("commonsense_qa", questions.commonsense_qa, _ACCURACY, 1_221, 5),
    "boolq": Task("boolq", questions.boolq, _ACCURACY, 3_270, 2, baseline=0.62),
    "sciq": Task("sciq", questions.sciq, CHOICE, 1_000),
    "lambada_openai": Task("lambada_openai", questions.lambada, ANSWER, 5_153, 1),
    "blimp": Task("blimp", questions.blimp, _ACCURACY, 67_000, 2),
    "bigbench_qa_wikidata": Task("bigbench_qa_wikidata", questions.core_row, ANSWER, 20_321, 1),
    "arithmetic": Task(
        "simple_arithmetic_nospaces", questions.core_row, ANSWER, 1_000, 1, delimiter=""
    ),
    "gsm8k_gold": Task("gsm8k", questions.gsm8k, _BITS, 1_319, 1),
    "humaneval_gold": Task("humaneval", questions.humaneval, _BITS, 164, 1, delimiter=""),
}


class Estimate(NamedTuple):
    """A metric over documents."""

    value: float
    stderr: float


class Answer(NamedTuple):
    """Scores of a question's choices."""

    question: Question
    nats: Sequence[float]
    """Log-likelihoods."""
    greedy: Sequence[bool]
    num_tokens: Sequence[int] = ()
    """Scored tokens of each choice."""
    shots: str = ""
    """Text before the question."""


def best_share(scores: Sequence[float], gold: int) -> float:
    """Return 1 if the gold score is the highest, 1/n if it ties with n - 1 others, else 0."""
    best = max(scores)
    return 1 / list(scores).count(best) if scores[gold] == best else 0.0


def _accuracy(answer: Answer) -> float:
    if answer.question.num_choices == 1:
        return float(answer.greedy[0])
    return best_share(answer.nats, answer.question.gold)


def _accuracy_norm(answer: Answer) -> float:
    question = answer.question
    lengths = [len(question.choice(n)[1]) for n in range(question.num_choices)]
    return best_share(_divided(answer.nats, lengths), question.gold)


def _accuracy_per_token(answer: Answer) -> float:
    return best_share(_divided(answer.nats, answer.num_tokens), answer.question.gold)


def _divided(nats: Sequence[float], lengths: Sequence[int]) -> list[float]:
    return [one / length for one, length in zip(nats, lengths, strict=True)]


def _gold_nats(answer: Answer) -> float:
    return -answer.nats[answer.question.gold]


def _gold_bits_per_byte(answer: Answer) -> float:
    text = answer.question.choice(answer.question.gold)[1]
    return _gold_nats(answer) / math.log(2) / len(text.encode())


METRICS: Mapping[str, Callable[[Answer], float]] = {
    "accuracy": _accuracy,
    "accuracy_norm": _accuracy_norm,
    "accuracy_per_token": _accuracy_per_token,
    "perplexity": _gold_nats,
    "bits_per_byte": _gold_bits_per_byte,
}
"""Value of a document by metric; over documents it is the mean, of perplexity exp of the mean.

accuracy and accuracy_norm are lm-evaluation-harness's acc and acc_norm: the choice with the highest
log-likelihood, or the highest per character; accuracy_per_token is CORE's. Ties count in parts.
With a single choice, accuracy is whether greedy decoding gives it; perplexity is that of the whole
answer.
"""


def estimate(metric: str, values: Sequence[float]) -> Estimate:
    """Return a metric's estimate from the values of at least one document."""
    count = len(values)
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / max(1, count - 1)
    stderr = math.sqrt(variance / count) if count > 1 else math.nan
    if metric != "perplexity":
        return Estimate(mean, stderr)
    value = math.exp(mean) if mean < 700 else math.inf
    return Estimate(value, value * stderr)


def interval(metric: str, found: Estimate, documents: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a metric: Wilson's for shares of documents."""
    value, stderr = found
    if metric in ("perplexity", "bits_per_byte"):
        return value - _Z * stderr, value + _Z * stderr
    spread = _Z**2 / documents
    half = _Z * math.sqrt(value * (1 - value) / documents + spread / (4 * documents))
    return (value + spread / 2 - half) / (1 + spread), (value + spread / 2 + half) / (1 + spread)


def metric_facts(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    """Return values and standard errors under their public names."""
    facts: dict[str, Any] = {}
    for number, (name, (value, stderr)) in enumerate(metrics.items()):
        facts |= {name: value, f"{name}_stderr" if number else "stderr": stderr}
    return facts
