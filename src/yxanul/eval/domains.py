"""Scores of domains and of each of their documents: which text the model is weak in."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.ui import Ui
from yxanul.data.batches import WindowBatch, WindowShape, text_batches, validation_batches
from yxanul.data.shards import Shards
from yxanul.eval.perplexity import read_documents, score_batches
from yxanul.eval.score import Score, surprise_ratios
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.tokenizer import Tokenizer

MIN_BYTES = 200
"""Least size of a document that is listed among the worst; less where most are shorter."""
WEAK, STRONG = 1.5, 0.8
"""Surprise ratios above and below which a domain is weak or strong."""
MIX_MORE, MIX_LESS = 1.3, 0.85
"""Surprise ratios above and below which the mix should have more or less of a domain."""


@dataclass(frozen=True, slots=True)
class ScoredDocument:
    """A document of a domain, and its score."""

    number: int
    """Index in the domain, from 0."""
    score: Score
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the document under its public names."""
        return {"document": self.number, **self.score.to_dict(), "text": self.text}


@dataclass(frozen=True, slots=True)
class DomainScore:
    """Score of a domain and of each of its documents."""

    score: Score
    documents: Sequence[Score]
    text_of: Callable[[int], str]
    """Returns the text of a document by its index."""

    def worst(self, count: int) -> list[ScoredDocument]:
        """Return the documents with the highest bits per byte; among those of 200 bytes or more, or
        in a domain of shorter texts, of at least the median size."""
        least = min(MIN_BYTES, median_low([one.bytes for one in self.documents]))
        long = [n for n, one in enumerate(self.documents) if one.bytes >= max(1, least)]

        def badness(number: int) -> float:
            bits = self.documents[number].bits_per_byte
            return math.inf if math.isnan(bits) else bits

        worst = sorted(long, key=badness, reverse=True)[:count]
        return [ScoredDocument(n, self.documents[n], self.text_of(n)) for n in worst]


def score_each_document(
    model: LanguageModel,
    tokenizer: Tokenizer,
    held_out: Mapping[str, Shards],
    files: Sequence[Path],
    shape: WindowShape,
    ui: Ui,
) -> dict[str, DomainScore]:
    """Return the scores of held-out text by source, and of text files by path, in windows of one
    shape. Raises YxanulError for a file that cannot be read, or has the name of a source."""
    texts = {str(path): read_documents(path) for path in files}
    for name in texts:
        if name in held_out:
            raise YxanulError(
                f"the file {name} has the name of a source", hint="pass its whole path"
            )
    domains: dict[str, DomainScore] = {}
    with ui.task("score documents", len(held_out) + len(texts), "domains") as bar:
        for name, shards in held_out.items():
            domains[name] = _score_shards(model, tokenizer, shards, shape)
            bar.advance(1, name)
        for name, documents in texts.items():
            domains[name] = _score_texts(model, tokenizer, documents, shape)
            bar.advance(1, name)
    return domains


def _score_shards(
    model: LanguageModel, tokenizer: Tokenizer, shards: Shards, shape: WindowShape
) -> DomainScore:
    def text_of(number: int) -> str:
        return tokenizer.decode(shards.document(number)[:-1].tolist())

    batches = validation_batches(shards, shape)
    sizes = shards.document_bytes.tolist()
    return _domain_score(model, batches, shards.lengths.tolist(), sizes, text_of)


def _score_texts(
    model: LanguageModel, tokenizer: Tokenizer, texts: Sequence[str], shape: WindowShape
) -> DomainScore:
    encoded = [[*tokenizer.encode(text), tokenizer.end_of_text_id] for text in texts]
    batches = text_batches(encoded, tokenizer.bos_id, shape)
    sizes = [len(text.encode()) for text in texts]
    return _domain_score(model, batches, list(map(len, encoded)), sizes, texts.__getitem__)


def _domain_score(
    model: LanguageModel,
    batches: Iterable[WindowBatch],
    lengths: Sequence[int],
    sizes: Sequence[int],
    text_of: Callable[[int], str],
) -> DomainScore:
    nats_N = torch.zeros(len(lengths), dtype=torch.float64)
    score = score_batches(model, batches, sum(sizes), len(sizes), nats_N)
    documents = [
        Score(own / tokens, tokens, num_bytes)
        for own, tokens, num_bytes in zip(nats_N.tolist(), lengths, sizes, strict=True)
    ]
    return DomainScore(score, documents, text_of)


@dataclass(frozen=True, slots=True)
class Surprise:
    """How a domain's perplexity compares with the mean of the run's sources."""

    ratio: float
    in_mix: bool = True
    """Whether the domain is a source of the run, not a text file."""

    @property
    def strength(self) -> str | None:
        """weak, strong, or None between them."""
        return "weak" if self.ratio > WEAK else "strong" if self.ratio < STRONG else None

    @property
    def mix_advice(self) -> str | None:
        """Whether the mix should have more or less of the domain; None for as much as now, or for
        text that is no source."""
        if not self.in_mix:
            return None
        return "more" if self.ratio > MIX_MORE else "less" if self.ratio < MIX_LESS else None

    def __str__(self) -> str:
        advice = f"{self.mix_advice} in the mix" if self.mix_advice else None
        return ", ".join(filter(None, (self.strength, advice)))

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison under its public names."""
        return {
            "surprise_ratio": self.ratio,
            "strength": self.strength,
            "mix_advice": self.mix_advice,
        }


def surprises(
    domains: Mapping[str, DomainScore], files: Collection[str] = ()
) -> dict[str, Surprise]:
    """Return each domain's comparison with the mean of the run's sources, or without any, of all;
    none if there is one domain. `files` are the names of those that are no source."""
    scores = {name: domain.score for name, domain in domains.items()}
    sources = {name: score for name, score in scores.items() if name not in files}
    ratios = surprise_ratios(scores, sources)
    return {name: Surprise(ratio, name not in files) for name, ratio in ratios.items()}
