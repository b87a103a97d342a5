"""Table of the tasks scored by log-likelihood, and their metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from yxanul.base.figures import perplexity
from yxanul.eval import questions
from yxanul.eval.questions import Question, Row, num_words
from yxanul.eval.requests import Ask, ask, ask_rolling

CHOICE = ("accuracy", "accuracy_norm")
ANSWER = ("accuracy", "perplexity")
PAGE = ("word_perplexity", "byte_perplexity", "bits_per_byte")


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

    shots: ClassVar[None] = None
    """Solved documents are other documents of the same set."""
    program: ClassVar[None] = None
    """Nothing that the model writes is run."""

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
    "wikitext": Task("wikitext", questions.wikitext, PAGE, 62, 1, num_fewshot=0, ask=ask_rolling),
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
    """Return 1 if the gold score is the highest, 1/n if it ties with n - 1 others, else 0; NaN if
    a score is NaN."""
    if any(map(math.isnan, scores)):
        return math.nan
    best = max(scores)
    return 1 / list(scores).count(best) if scores[gold] == best else 0.0


def _accuracy(answer: Answer) -> float:
    if answer.question.num_choices == 1:
        return float(answer.greedy[0])
    return best_share(answer.nats, answer.question.gold)


def _accuracy_norm(answer: Answer) -> float:
    question = answer.question
    lengths = [len(question.choice(n)[1]) for n in range(question.num_choices)]
    return _accuracy_by_length(answer, lengths)


def _accuracy_by_length(answer: Answer, lengths: Sequence[int]) -> float:
    scores = [nats / length for nats, length in zip(answer.nats, lengths, strict=True)]
    return best_share(scores, answer.question.gold)


def _gold_nats(answer: Answer) -> float:
    return -answer.nats[answer.question.gold]


def _nats_per_byte(answer: Answer) -> float:
    question = answer.question
    text = question.page or question.choice(question.gold)[1]
    return _gold_nats(answer) / len(text.encode())


METRICS: Mapping[str, Callable[[Answer], float]] = {
    "accuracy": _accuracy,
    "accuracy_norm": _accuracy_norm,
    "accuracy_per_token": lambda answer: _accuracy_by_length(answer, answer.num_tokens),
    "perplexity": _gold_nats,
    "word_perplexity": lambda answer: _gold_nats(answer) / num_words(answer.question.page),
    "byte_perplexity": _nats_per_byte,
    "bits_per_byte": lambda answer: _nats_per_byte(answer) / math.log(2),
}
"""Value of a document by metric; over documents it is the mean, of perplexities exp of the mean.

accuracy and accuracy_norm are lm-evaluation-harness's acc and acc_norm: the choice with the highest
log-likelihood, or the highest per character; accuracy_per_token is CORE's. Ties count in parts.
With a single choice, accuracy is whether greedy decoding gives it; perplexity is that of the whole
answer. word_perplexity, byte_perplexity and bits_per_byte are those of all pages as one text, as in
lm-evaluation-harness: `weight` counts words or bytes of a page.
"""


def weight(metric: str, answer: Answer) -> float:
    """Return how much a document counts in the mean: a page as many times as it has words or bytes,
    anything else once."""
    page = answer.question.page
    if not page:
        return 1.0
    return float(num_words(page) if metric == "word_perplexity" else len(page.encode()))


def is_perplexity(metric: str) -> bool:
    """Return whether a metric is exp of the mean over documents."""
    return metric.endswith("perplexity")


def estimate(
    metric: str, values: Sequence[float], weights: Sequence[float] | None = None
) -> Estimate:
    """Return a metric's estimate from the values of at least one document; weights default to 1.

    The standard error with weights is that of a ratio of two means.
    """
    count, weights = len(values), weights or [1.0] * len(values)
    weighted = list(zip(weights, values, strict=True))
    total = math.fsum(weights)
    mean = math.fsum(one * value for one, value in weighted) / total
    spread = math.fsum((one * (value - mean)) ** 2 for one, value in weighted)
    stderr = math.sqrt(spread * count / (count - 1)) / total if count > 1 else math.nan
    if not is_perplexity(metric):
        return Estimate(mean, stderr)
    value = perplexity(mean)
    return Estimate(value, value * stderr)


def interval(metric: str, found: Estimate, documents: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a metric: Wilson's for shares of documents."""
    value, stderr = found
    if is_perplexity(metric) or metric == "bits_per_byte":
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
