"""Tasks whose answers are generated: GSM8K, TriviaQA, HumanEval and MBPP.

Who generates and who runs programs is passed, with all but their last arguments bound:

    generate = partial(generate_answers, model, tokenizer, SampleSettings(temperature=0))
    execute = partial(run_programs, isolated=check_code_allowed(allow_code, unsafe_code))
    result = run_generated(GENERATED_TASKS["mbpp"], documents, generate, shots, execute)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

from yxanul.base.errors import YxanulError
from yxanul.base.seeds import derive_seed
from yxanul.base.ui import SilentUi, Ui
from yxanul.eval.answers import (
    HUMANEVAL_STOPS,
    MBPP_STOPS,
    Document,
    humaneval_program,
    mbpp_program,
    mbpp_prompt,
    mean_and_stderr,
    pass_at_k,
    score_gsm8k,
    score_triviaqa,
    triviaqa_aliases,
    triviaqa_prompt,
)
from yxanul.eval.sandbox import Outcome
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete_ids
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.tokenizer import Tokenizer

BATCH_TOKENS = 16_384
SHOT_SEED = 1234
"""Seed of the shots in lm-evaluation-harness."""


@dataclass(frozen=True, slots=True)
class GeneratedTask:
    """How a task asks, and how it judges: by `score`, or by running a `program`."""

    prompt: Callable[[Document], str]
    target: Callable[[Document], str]
    """Text that follows the prompt in a shot."""
    stop: tuple[str, ...]
    max_tokens: int = 256
    num_shots: int = 0
    shot_ids: tuple[int, ...] = ()
    """`task_id` of the documents to use as shots, in order; absent: drawn for each document."""
    score: Callable[[Document, str], dict[str, float]] | None = None
    program: Callable[[Document, str], str] | None = None


@dataclass(frozen=True, slots=True)
class Completions:
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
    outcomes: tuple[Outcome, ...] = ()


@dataclass(frozen=True, slots=True)
class GeneratedResult:
    """A task's records, in the order of its documents, and (mean, standard error) by metric."""

    records: list[Record]
    metrics: dict[str, tuple[float, float]]


Generate = Callable[[GeneratedTask, Sequence[str]], Sequence[Completions]]
Execute = Callable[[Sequence[str]], Sequence[Outcome]]


def run_generated(
    task: GeneratedTask,
    documents: Sequence[Document],
    generate: Generate,
    shots: Sequence[Document] = (),
    execute: Execute | None = None,
) -> GeneratedResult:
    """Generate and score the answers to all documents.

    Shots are taken from `shots`, which may be the documents themselves: none is its own shot.
    `execute` runs the programs of a task that has some. Raises YxanulError if shots are too few.
    """
    prompts = build_prompts(task, documents, shots)
    answers = generate(task, prompts)
    asked = list(zip(documents, answers, strict=True))
    outcomes: list[tuple[Outcome, ...]] = [()] * len(asked)
    if task.score is not None:
        scores = [_mean([task.score(doc, text) for text in own.texts]) for doc, own in asked]
    else:
        assert task.program and execute, "a task has scores or programs, and programs have to run"
        ran = iter(execute([task.program(doc, text) for doc, own in asked for text in own.texts]))
        outcomes = [tuple(islice(ran, len(own.texts))) for own in answers]
        scores = [_pass_rates(own) for own in outcomes]
    records = list(map(Record, prompts, answers, scores, outcomes))
    metrics = {name: mean_and_stderr([score[name] for score in scores]) for name in scores[0]}
    return GeneratedResult(records, metrics)


def build_prompts(
    task: GeneratedTask, documents: Sequence[Document], shots: Sequence[Document] = ()
) -> list[str]:
    """Return the prompt of each document, after shots drawn from `shots` or those of `shot_ids`."""
    if task.shot_ids:
        by_id = {shot["task_id"]: shot for shot in shots}
        shots = [by_id[number] for number in task.shot_ids if number in by_id]
    generator = random.Random(SHOT_SEED)
    prompts: list[str] = []
    for document in documents:
        others = [shot for shot in shots if shot is not document]
        if len(others) < task.num_shots:
            raise YxanulError(
                "too few documents for the shots", got=len(others), expected=task.num_shots
            )
        drawn = others if task.shot_ids else generator.sample(others, task.num_shots)
        before = [f"{task.prompt(shot)}{task.target(shot)}\n\n" for shot in drawn]
        prompts.append("".join(before[: task.num_shots]) + task.prompt(document))
    return prompts


def generate_answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    settings: SampleSettings,
    task: GeneratedTask,
    prompts: Sequence[str],
    ui: Ui | None = None,
) -> list[Completions]:
    """Return `num_samples` answers to each prompt; stop strings and max_tokens are the task's.

    A prompt that leaves no room for max_tokens (at most half of the model's context) loses tokens
    at its start. Greedy answers are computed in batches; sampled ones document by document, so that
    they depend on the seed and the document's number only.
    """
    num_samples, is_greedy = settings.num_samples, settings.temperature == 0
    if is_greedy and num_samples > 1:
        raise YxanulError(
            "greedy decoding gives the same answer each time",
            got=f"{num_samples} samples",
            hint="sample with a temperature above 0",
        )
    max_seq_len = model.settings.max_seq_len
    max_tokens = min(task.max_tokens, max_seq_len // 2)
    whole = [[tokenizer.bos_id, *tokenizer.encode(prompt)] for prompt in prompts]
    read = [ids[max_tokens - max_seq_len :] for ids in whole]
    texts: dict[int, tuple[str, ...]] = {}
    with (ui or SilentUi()).task("generate answers", len(prompts), "documents") as bar:
        for batch in _batches(read, max_tokens) if is_greedy else ([n] for n in range(len(read))):
            rows = [read[n] for n in batch for _ in range(num_samples)]
            seed = derive_seed(settings.seed, "document", batch[0])
            own = {"max_tokens": max_tokens, "stop": task.stop, "seed": seed}
            done = complete_ids(model, tokenizer, rows, settings.model_copy(update=own))
            written = iter([completion.text for completion in done])
            texts |= {n: tuple(islice(written, num_samples)) for n in batch}
            bar.advance(len(batch))
    return [Completions(texts[n], len(whole[n]) - len(read[n])) for n in range(len(prompts))]


def _batches(prompts: Sequence[Sequence[int]], max_tokens: int) -> Iterator[list[int]]:
    """Yield the numbers of prompts that are generated together, the longest first."""
    left = sorted(range(len(prompts)), key=lambda n: -len(prompts[n]))
    while left:
        rows = max(1, BATCH_TOKENS // (len(prompts[left[0]]) + max_tokens))
        yield left[:rows]
        left = left[rows:]


def _mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: fmean(score[name] for score in scores) for name in scores[0]}


def _pass_rates(outcomes: Sequence[Outcome]) -> dict[str, float]:
    n, passed = len(outcomes), sum(outcome.status == "passed" for outcome in outcomes)
    return {f"pass@{k}": pass_at_k(n, passed, k) for k in (1, 10, 100) if k <= n}


GENERATED_TASKS: dict[str, GeneratedTask] = {
    "gsm8k": GeneratedTask(
        prompt=lambda document: f"Question: {document['question']}\nAnswer:",
        target=lambda document: f" {document['answer']}",
        stop=("Question:", "</s>", "<|im_end|>"),
        num_shots=5,
        score=score_gsm8k,
    ),
    "triviaqa": GeneratedTask(
        prompt=triviaqa_prompt,
        target=lambda document: f" {triviaqa_aliases(document)[0]}",
        stop=("\n", ".", ","),
        score=score_triviaqa,
    ),
    "humaneval": GeneratedTask(
        prompt=lambda document: document["prompt"],
        target=lambda document: document["canonical_solution"],
        stop=HUMANEVAL_STOPS,
        max_tokens=1024,
        program=humaneval_program,
    ),
    "mbpp": GeneratedTask(
        prompt=mbpp_prompt,
        target=lambda document: f"{document['code']}\n[DONE]",
        stop=MBPP_STOPS,
        num_shots=3,
        shot_ids=(2, 3, 4),
        program=mbpp_program,
    ),
}
"""Tasks by name; the accuracy of guessing is 0 in each."""
