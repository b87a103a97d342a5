"""Scores and answers of a model, kept on disk: an interrupted evaluation goes on, and none is done
twice."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.seeds import derive_seed
from yxanul.base.ui import ProgressTask
from yxanul.eval.generated import Completions, GeneratedTask
from yxanul.eval.loglikelihood import LogLikelihood, log_likelihoods
from yxanul.eval.requests import Request, RollingRequest
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete_ids
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.tokenizer import Tokenizer

Known = TypeVar("Known", LogLikelihood, Completions)
ANSWER_BATCH_TOKENS = 16_384
_VERSION = 1
"""Of how requests are scored and answered; what other versions kept is not used."""


def model_digest(model: LanguageModel) -> str:
    """Return the SHA-256 of a model's settings and weights."""
    digest = hashlib.sha256(model.settings.model_dump_json().encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _requests_digest(requests: Sequence[Request], seq_len: int) -> str:
    digest = hashlib.sha256(f"{_VERSION} {seq_len}".encode())
    for request in requests:
        context, continuation = request
        if isinstance(request, RollingRequest):
            digest.update(b"rolling")
        lengths = (len(context), len(continuation))
        digest.update(array("q", (*lengths, *context, *continuation)).tobytes())
    return digest.hexdigest()


class CachedModel:
    """Scores requests and answers prompts with one model.

    With a folder, what earlier calls computed is read from it.
    """

    def __init__(self, model: LanguageModel, seq_len: int, folder: Path | None = None):
        if seq_len > model.settings.max_seq_len:
            raise YxanulError(
                "the context length is above the model's max_seq_len",
                got=seq_len,
                expected=f"at most {model.settings.max_seq_len}",
            )
        self.model = model
        self.seq_len = seq_len
        """Most tokens that the model reads; longer contexts are cut on the left."""
        self._folder = folder and folder / model_digest(model)[:16]

    def score(self, requests: Sequence[Request], bar: ProgressTask) -> list[LogLikelihood]:
        """Return the score of each request; advance the progress bar by requests."""

        def score_missing(missing: Sequence[int]) -> Iterable[dict[int, LogLikelihood]]:
            todo = [requests[number] for number in missing]
            for batch in log_likelihoods(self.model, todo, self.seq_len):
                yield {missing[index]: score for index, score in batch.items()}

        digest = _requests_digest(requests, self.seq_len)
        return self._resume(digest, len(requests), LogLikelihood, score_missing, bar)

    def answer(
        self,
        tokenizer: Tokenizer,
        settings: SampleSettings,
        task: GeneratedTask,
        prompts: Sequence[str],
        bar: ProgressTask,
    ) -> list[Completions]:
        """Return the answers to each prompt; advance the progress bar by prompts."""

        def answer_missing(missing: Sequence[int]) -> Iterable[dict[int, Completions]]:
            todo = {number: prompts[number] for number in missing}
            return generate_answers(self.model, tokenizer, settings, self.seq_len, task, todo)

        own = [_VERSION, self.seq_len, tokenizer.digest, settings.model_dump()]
        facts = json.dumps([*own, task.stop, task.max_tokens, *prompts])
        digest = hashlib.sha256(facts.encode()).hexdigest()
        return self._resume(digest, len(prompts), _completions, answer_missing, bar)

    def _resume(
        self,
        digest: str,
        count: int,
        parse: Callable[..., Known],
        compute: Callable[[Sequence[int]], Iterable[Mapping[int, Known]]],
        bar: ProgressTask,
    ) -> list[Known]:
        """Return `count` results: those in the file of the digest, and the others computed."""
        file = self._folder and self._folder / f"{digest[:32]}.jsonl"
        known = _read(file, parse) if file else {}
        bar.advance(len(known))
        for batch in compute([number for number in range(count) if number not in known]):
            if file:
                _append(file, batch)
            known |= batch
            bar.advance(len(batch))
        return [known[number] for number in range(count)]


def _completions(texts: Sequence[str], cut_tokens: int) -> Completions:
    return Completions(tuple(texts), cut_tokens)


def _read(file: Path, parse: Callable[..., Known]) -> dict[int, Known]:
    """Return the results in a file; a line broken off by a killed process is skipped."""
    known: dict[int, Known] = {}
    lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    for line in lines:
        with suppress(ValueError, TypeError):
            number, *result = json.loads(line)
            known[number] = parse(*result)
    return known


def _append(file: Path, results: Mapping[int, tuple[Any, ...]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps([number, *result]) for number, result in results.items())
    with open(file, "a") as stream:
        stream.write("\n" + "\n".join(lines))


def generate_answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    settings: SampleSettings,
    seq_len: int,
    task: GeneratedTask,
    prompts: Mapping[int, str],
) -> Iterator[dict[int, Completions]]:
    """Yield `num_samples` answers to each prompt, batch by batch, by the prompt's number.

    Stop strings and max_tokens are the task's. A prompt that leaves no room for max_tokens (at most
    half of `seq_len`) loses tokens at its start. Greedy answers are computed in batches; sampled
    ones document by document, so that they depend on the seed and the document's number only.
    """
    num_samples, is_greedy = settings.num_samples, settings.temperature == 0
    if is_greedy and num_samples > 1:
        raise YxanulError(
            "greedy decoding gives the same answer each time",
            got=f"{num_samples} samples",
            hint="sample with a temperature above 0",
        )
    max_tokens = min(task.max_tokens, seq_len // 2)
    whole = {n: [tokenizer.bos_id, *tokenizer.encode(text)] for n, text in prompts.items()}
    read = {n: ids[max_tokens - seq_len :] for n, ids in whole.items()}
    for batch in _batches(read, max_tokens) if is_greedy else ([n] for n in read):
        rows = [read[n] for n in batch for _ in range(num_samples)]
        seed = derive_seed(settings.seed, "document", batch[0])
        own = {"max_tokens": max_tokens, "stop": task.stop, "seed": seed}
        done = complete_ids(model, tokenizer, rows, settings.model_copy(update=own))
        texts = iter([completion.text for completion in done])
        yield {
            n: Completions(tuple(islice(texts, num_samples)), len(whole[n]) - len(read[n]))
            for n in batch
        }


def _batches(prompts: Mapping[int, Sequence[int]], max_tokens: int) -> Iterator[list[int]]:
    """Yield the numbers of prompts that are generated together, the longest first."""
    left = sorted(prompts, key=lambda n: -len(prompts[n]))
    while left:
        rows = max(1, ANSWER_BATCH_TOKENS // (len(prompts[left[0]]) + max_tokens))
        yield left[:rows]
        left = left[rows:]
