"""Loss of a model on held-out documents: every token is scored once, padding never."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from pathlib import Path

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.ui import Ui
from yxanul.data.batches import Batch, WindowBatch, WindowShape, validation_batches
from yxanul.data.shards import Shards, source_names
from yxanul.eval.score import Score
from yxanul.model.language_model import LanguageModel
from yxanul.text.config import TextSettings
from yxanul.text.documents import CURES, PROBLEMS, Dropped
from yxanul.text.sources import open_source
from yxanul.tokenizer.tokenizer import Tokenizer

BATCH_TOKENS = 8_192


def window_shape(seq_len: int, stride: int | None = None) -> WindowShape:
    """Return windows of `seq_len` tokens in batches of about 8,192 tokens."""
    return WindowShape(seq_len, max(1, BATCH_TOKENS // seq_len), stride or max(1, seq_len // 2))


def score_batches(
    model: LanguageModel,
    batches: Iterable[Batch],
    num_bytes: int,
    num_samples: int,
    nats_N: torch.Tensor | None = None,
) -> Score:
    """Score batches of text with `num_bytes` bytes and `num_samples` documents; add the nats of
    each document to `nats_N`, if given (float64; the batches are then windows of documents)."""
    device = next(model.parameters()).device
    nats, right, tokens, batch_losses = 0.0, 0.0, 0, []
    for batch in batches:
        here = batch.to(device)
        scores_2BT = model.token_scores(here.ids_BT, here.targets_BT, here.documents_BT)
        losses, hits = scores_2BT.sum((1, 2)).tolist()
        nats, right, tokens = nats + losses, right + hits, tokens + batch.num_targets
        if batch.num_targets:
            batch_losses.append(losses / batch.num_targets)
        if nats_N is not None:
            assert isinstance(batch, WindowBatch)
            nats_N.index_add_(0, batch.numbers_B, scores_2BT[0].sum(1).double().cpu())
    accuracy = right / tokens
    return Score(nats / tokens, tokens, num_bytes, accuracy, num_samples, tuple(batch_losses))


def score_shards(
    model: LanguageModel,
    shards: Shards,
    shape: WindowShape,
    documents: Sequence[int] | None = None,
) -> Score:
    """Score a domain's documents: all, or those given by index."""
    sizes = shards.document_bytes if documents is None else shards.document_bytes[list(documents)]
    batches = validation_batches(shards, shape, documents)
    return score_batches(model, batches, int(sizes.sum()), len(sizes))


def score_domains(
    model: LanguageModel, domains: dict[str, Shards], shapes: dict[str, WindowShape], ui: Ui
) -> dict[str, Score]:
    """Score every domain in full, each in windows of its own shape."""
    total = sum(shards.num_tokens for shards in domains.values())
    scores: dict[str, Score] = {}
    with ui.task("score held-out text", total, "tokens") as bar:
        for name, shards in domains.items():
            scores[name] = score_shards(model, shards, shapes[name])
            bits = ", ".join(f"{key} {score.bits_per_byte:.3f}" for key, score in scores.items())
            bar.advance(shards.num_tokens, f"{bits} bits per byte")
    return scores


def open_held_out(
    folder: Path, tokenizer: Tokenizer, used: Collection[str] | None = None
) -> dict[str, Shards]:
    """Open the held-out split of every encoded source in `folder`, or of those that are used."""
    names = [name for name in source_names(folder) if used is None or name in used]
    if not names:
        raise YxanulError(f"no shards in {folder}", hint="run `yxanul prepare` with its recipe")
    return {name: Shards.open(folder, name, "validation", tokenizer.digest) for name in names}


def read_documents(path: Path) -> list[str]:
    """Return a file's documents, split as in training; YxanulError if any cannot be read."""
    source = open_source(str(path), TextSettings(path=str(path)))
    documents: list[str] = []
    for item in chain.from_iterable(map(source.read, source.slices())):
        if isinstance(item, Dropped):
            raise YxanulError(
                f"cannot score all of {path}: {item.where} {PROBLEMS[item.cause]}",
                hint=CURES.get(item.cause),
            )
        if item.text.strip():
            documents.append(item.text)
    if not documents:
        raise YxanulError(f"{path} has no text to score")
    return documents
