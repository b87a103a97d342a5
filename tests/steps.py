"""A tiny model, and steps of training by hand: over rows that count, or rows of a stream."""

import copy

import numpy as np
import torch

from yxanul.data.batches import IGNORE, Batch
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.train.mixed_precision.weights import MixedPrecision

VOCAB, ROWS, LENGTH = 16, 8, 16


def make_model(seed=1, **fields):
    """Return a tiny model whose sizes suit fp8."""
    small = {"width": 32, "depth": 2, "num_heads": 2, "max_seq_len": 32, "vocab_size": VOCAB}
    model = LanguageModel(ModelSettings(**small | fields))
    model.init_weights(torch.Generator().manual_seed(seed))
    return model


def counting(seed, rows=ROWS, length=LENGTH):
    """Return ids and targets of rows that count on from a random start."""
    starts = torch.randint(VOCAB, (rows, 1), generator=torch.Generator().manual_seed(seed))
    ids = (starts + torch.arange(length + 1)) % VOCAB
    return ids[:, :-1], ids[:, 1:]


def gather(mixed_precision, ids, targets, parts=1):
    """Bring the gradients of the mean loss to the master, in so many parts; return the loss."""
    summed = 0.0
    for some, wanted in zip(ids.chunk(parts), targets.chunk(parts), strict=True):
        with mixed_precision.forward_context():
            loss = mixed_precision.model.loss(some, wanted)
        (loss.total / targets.numel() * mixed_precision.loss_factor).backward()
        mixed_precision.collect()
        summed += float(loss.cross_entropy)
    return summed / targets.numel()


def gradients(mixed_precision, ids, targets, parts=1):
    """Return the loss, and the master's gradients in one vector; none are left behind."""
    loss = gather(mixed_precision, ids, targets, parts)
    found = torch.cat([p.grad.flatten() for p in mixed_precision.master_model.parameters()])
    for parameter in mixed_precision.master_model.parameters():
        parameter.grad = None
    return loss, found


class Steps:
    """A twin and its optimizer, one update after the other."""

    def __init__(self, precision, rate=1e-2, fp8=None, **fields):
        self.mixed_precision = MixedPrecision(make_model(**fields), precision, fp8)
        self.optimizer = torch.optim.AdamW(
            self.mixed_precision.master_model.parameters(), lr=rate, weight_decay=0
        )
        self.done = 0

    def step(self):
        """Do a step; return the loss, whether it was applied, and whether overflow was answered."""
        loss = gather(self.mixed_precision, *counting(self.done))
        grads = [p.grad for p in self.mixed_precision.master_model.parameters()]
        finite = all(bool(grad.isfinite().all()) for grad in grads)
        if finite:
            self.optimizer.step()
            self.mixed_precision.refresh()
        self.optimizer.zero_grad()
        self.done += 1
        return loss, finite, self.mixed_precision.after_update(finite)

    def weights(self):
        """Return the master's weights as they are now."""
        return copy.deepcopy(self.mixed_precision.master_model.state_dict())


class StreamFeed:
    """Cuts rows out of one endless stream; `ignored(start, length)` targets of a row are not
    scored."""

    def __init__(self, stream, ignored=lambda start, length: 0):
        self.stream, self.ignored = stream, ignored
        self.batches = []

    def load(self, rows, seq_len):
        ids = np.stack([self.stream[row.start : row.start + seq_len + 1] for row in rows])
        targets = ids[:, 1:].copy()
        for row, target in zip(rows, targets, strict=True):
            target[: self.ignored(row.start, seq_len)] = IGNORE
        both = (torch.from_numpy(part.copy()) for part in (ids[:, :-1], targets))
        batch = Batch(*both, torch.zeros(len(rows), seq_len, dtype=torch.int64))
        self.batches.append(batch)
        return batch


def weights_of(trainer):
    """Return a copy of a trainer's fp32 weights, in one vector."""
    return torch.cat([weight.detach().flatten() for weight in trainer.engine.trained().values()])


def change_gradients(trainer, change):
    """Let gradients of one weight be changed; return what takes that back with `remove()`."""
    return list(trainer.engine.mixed_precision.model.parameters())[3].register_hook(change)


def same(one, other):
    """Say whether two state dicts are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
