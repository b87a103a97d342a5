"""Scores of requests on disk, so that an interrupted evaluation goes on and none is done twice."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from yxanul.base.errors import YxanulError
from yxanul.base.ui import ProgressTask
from yxanul.eval.loglikelihood import LogLikelihood, log_likelihoods
from yxanul.eval.requests import Request
from yxanul.model.language_model import LanguageModel

_VERSION = 1
"""Of how requests are scored; others' scores are not used."""


def model_digest(model: LanguageModel) -> str:
    """Return the SHA-256 of a model's settings and weights."""
    digest = hashlib.sha256(model.settings.model_dump_json().encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy())
    return digest.hexdigest()


def _requests_digest(requests: Sequence[Request], seq_len: int) -> str:
    digest = hashlib.sha256(f"{_VERSION} {seq_len}".encode())
    for context, continuation in requests:
        lengths = (len(context), len(continuation))
        digest.update(array("q", (*lengths, *context, *continuation)).tobytes())
    return digest.hexdigest()


class Scorer:
    """Scores requests with one model; with a folder, those of earlier calls are read from it."""

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
        file = self._file_of(requests)
        known = _read(file) if file else {}
        bar.advance(len(known))
        missing = [number for number in range(len(requests)) if number not in known]
        todo = [requests[number] for number in missing]
        for batch in log_likelihoods(self.model, todo, self.seq_len):
            scores = {missing[index]: score for index, score in batch.items()}
            if file:
                _append(file, scores)
            known |= scores
            bar.advance(len(scores))
        return [known[number] for number in range(len(requests))]

    def _file_of(self, requests: Sequence[Request]) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{_requests_digest(requests, self.seq_len)[:32]}.jsonl"


def _read(file: Path) -> dict[int, LogLikelihood]:
    """Return the scores in a file; a line broken off by a killed process is skipped."""
    known: dict[int, LogLikelihood] = {}
    lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    for line in lines:
        with suppress(ValueError, TypeError):
            number, nats, is_greedy = json.loads(line)
            known[number] = LogLikelihood(nats, is_greedy)
    return known


def _append(file: Path, scores: dict[int, LogLikelihood]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps([number, *score]) for number, score in scores.items())
    with open(file, "a") as stream:
        stream.write("\n" + "\n".join(lines))
