"""What can be learnt is learnt, and nothing else: a model that sees its targets fails here."""

import math

import pytest
import torch

HEADS = {
    "tied": {"head": "tied"},
    "untied": {"head": "untied"},
    "folded": {"head": "folded", "embedding_rank": 12},
}
PATTERNS = {
    "global": {},
    "windows": {"layer_pattern": "LG", "window": 3},
}
VOCAB, LENGTH, ROWS, STEPS = 16, 16, 16, 120


def uniform(generator):
    """Rows of tokens that nothing foretells."""
    return torch.randint(0, VOCAB, (ROWS, LENGTH + 1), generator=generator)


def successors(generator):
    """Rows that count upwards from anywhere."""
    return (uniform(generator)[:, :1] + torch.arange(LENGTH + 1)) % VOCAB


def train(model, draw, generator):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(STEPS):
        rows = draw(generator)
        loss = model.loss(rows[:, :-1], rows[:, 1:])
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.step()


def fresh_loss(model, draw, generator):
    rows = torch.cat([draw(generator) for _ in range(16)])
    return model.token_scores(rows[:, :-1], rows[:, 1:])[0].mean().item()


PAIRS = [("tied", "windows"), ("untied", "global"), ("folded", "windows")]


@pytest.fixture(params=PAIRS, ids="-".join)
def model(request, build):
    head, pattern = request.param
    fields = {"width": 32, "num_heads": 2, "num_kv_heads": 1, "vocab_size": VOCAB}
    return build(**fields, **HEADS[head], **PATTERNS[pattern])


def test_uniform_tokens_are_never_learnt(model, generator):
    train(model, uniform, generator)
    assert fresh_loss(model, uniform, generator) > math.log(VOCAB) - 0.05


def test_the_successor_is_learnt(model, generator):
    train(model, successors, generator)
    assert fresh_loss(model, successors, generator) < 0.05
