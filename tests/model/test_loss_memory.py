"""What the head never makes: the folded matrix, and the logits of a whole batch."""

import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from yxanul.model.count import count_parameters

WIDTH, RANK, VOCAB, STORED = 72, 24, 1009, 1024
ROWS, LENGTH = 80, 32
CHUNK = 1280
"""Half of the rows: as many as one product may have, in equal parts."""
HEADS = {
    "tied": {"head": "tied"},
    "untied": {"head": "untied"},
    "folded": {"head": "folded", "embedding_rank": RANK},
}


class Shapes(TorchDispatchMode):
    """Writes down the shape of whatever any operation returns."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.seen.add(tuple(leaf.shape))
        return result

    def with_vocabulary(self):
        return {shape for shape in self.seen if {VOCAB, STORED} & set(shape)}


@pytest.fixture
def batch(generator):
    return torch.randint(0, VOCAB, (2, ROWS, LENGTH), generator=generator)


@pytest.mark.parametrize("kind", HEADS)
def test_no_operation_makes_what_is_too_large(build, batch, kind):
    model = build(width=WIDTH, vocab_size=VOCAB, **HEADS[kind])
    with Shapes() as shapes:
        model.loss(*batch).total.backward()
        model.token_scores(*batch)[0]
        with torch.no_grad():
            model.logits(model.hidden(batch[0])[:, -1])
    large = shapes.with_vocabulary()
    assert large, "nothing was recorded"
    tables = {VOCAB * RANK, STORED * RANK} if kind == "folded" else {STORED * WIDTH, VOCAB * WIDTH}
    for shape in large:
        others = [size for size in shape if size not in (VOCAB, STORED)]
        assert len(others) <= 1 and max(others, default=1) <= CHUNK, shape
        if kind == "folded":
            assert WIDTH not in others, shape
    assert any(torch.Size(shape).numel() in tables for shape in large)
    assert not any(ROWS * LENGTH in shape and {VOCAB, STORED} & set(shape) for shape in shapes.seen)
    assert not any(shape[:2] == (ROWS, LENGTH) and max(shape) >= VOCAB for shape in shapes.seen)


def test_the_recorder_sees_inside_of_functions_and_backward_passes(build, batch):
    """Otherwise the test above would prove nothing."""
    model = build(width=WIDTH, vocab_size=VOCAB, **HEADS["folded"])
    with Shapes() as shapes:
        folded = model.embedding.tokens @ model.embedding.projection.weight.T
        folded.sum().backward()
    assert (STORED, WIDTH) in shapes.with_vocabulary()
    with Shapes() as shapes:
        model.loss(*batch).total.backward()
    assert (CHUNK, STORED) in shapes.with_vocabulary(), "a chunk of logits"
    assert (STORED, RANK) in shapes.with_vocabulary(), "the gradient of the table"


@pytest.mark.parametrize("soft_cap", [None, 5.0])
@pytest.mark.parametrize("factorised", [False, True])
def test_logits_are_the_explicit_product(build, batch, soft_cap, factorised):
    head = HEADS["folded"] if factorised else HEADS["tied"]
    model = build(width=WIDTH, vocab_size=VOCAB, init_std=0.2, logit_soft_cap=soft_cap, **head)
    assert model.head is None and model.embedding.tokens.shape[0] == STORED
    hidden_BTD = model.hidden(batch[0][:2])
    table_VD = model.embedding.tokens[:VOCAB]
    if factorised:
        table_VD = table_VD @ model.embedding.projection.weight.T
    expected = (hidden_BTD.double() @ table_VD.double().T).float()
    if soft_cap is not None:
        expected = soft_cap * torch.tanh(expected / soft_cap)
    logits = model.logits(hidden_BTD)
    assert logits.shape == (2, LENGTH, VOCAB)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    last = model.logits(hidden_BTD[:, -1])
    torch.testing.assert_close(last, expected[:, -1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("loss_config", [{}, {"logit_soft_cap": 5.0}, {"z_loss": 0.1}], ids=str)
def test_padding_gets_neither_probability_nor_gradient(build, batch, kind, loss_config):
    """Padding rows that would win every softmax change no loss, and no gradient."""
    model = build(width=WIDTH, vocab_size=VOCAB, **HEADS[kind], **loss_config)
    tables = [t for t in (model.embedding.tokens, model.head) if t is not None]
    results = []
    for value in (0.0, 50.0):
        with torch.no_grad():
            for table in tables:
                table[VOCAB:] = value
        model.zero_grad()
        loss = model.loss(*batch[:, :2])
        loss.total.backward()
        logits = model.logits(model.hidden(batch[0, :1]))
        assert logits.shape[-1] == VOCAB
        assert all(table.grad[VOCAB:].eq(0).all() for table in tables)
        each = model.token_scores(*batch[:, :2])[0]
        results.append([loss.total, logits, each, *(p.grad.clone() for p in model.parameters())])
    for zeros, fifties in zip(*results, strict=True):
        assert torch.equal(zeros, fifties)
    assert sum(p.numel() for p in model.parameters()) - count_parameters(model.settings) == sum(
        (STORED - VOCAB) * table.shape[1] for table in tables
    )


MEASURE = """
import re, sys, torch
from yxanul.model.loss import LossConfig, linear_cross_entropy
rows, vocab, rank = map(int, sys.argv[1:])
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
def step(rows, vocab):
    generator = torch.Generator().manual_seed(0)
    stored = -(-vocab // 64) * 64
    hidden = torch.randn(rows, rank, generator=generator).requires_grad_()
    weight = torch.randn(stored, rank, generator=generator).requires_grad_()
    targets = torch.randint(0, vocab, (rows,), generator=generator)
    before = peak()
    loss = linear_cross_entropy(hidden, weight, targets, LossConfig(vocab))
    loss.total.backward()
    assert loss.total.isfinite() and weight.grad.abs().sum() > 0
    return peak() - before
step(64, 64)
print(step(rows, vocab))
"""


def growth_bytes(rows, vocab, rank):
    """Return by how much a loss and its gradients raise the peak of a fresh process."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak is read from /proc")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(rows), str(vocab), str(rank)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_peak_of_the_head():
    """All logits would take 656 MB, and as much again for their gradient."""
    assert 0 < growth_bytes(8192, 20_005, 64) < 210e6


@pytest.mark.slow
def test_peak_of_the_head_with_a_large_vocabulary():
    """All logits would take 26 GB."""
    assert 0 < growth_bytes(32_768, 200_005, 128) < 2 * 2**30
