import pytest
import torch
import torch.nn.functional as F

from yxanul.model import loss
from yxanul.model.loss import (
    IGNORE,
    ChunkRows,
    LossConfig,
    linear_cross_entropy,
    target_scores,
    token_scores,
)

CHUNK_ROWS = loss.chunk_rows


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(loss, "chunk_rows", lambda *_: ChunkRows(16, 5))


def example(rows=50, width=24, stored=64, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(rows, width, generator=generator).to(dtype)
    weight = torch.randn(stored, width, generator=generator).to(dtype)
    targets = torch.randint(0, 50, (rows,), generator=generator)
    targets[[0, 7, 20, 21, 49]] = IGNORE
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def plain(hidden, weight, targets, loss_config):
    logits = hidden.float() @ weight.float()[: loss_config.vocab_size].T
    if loss_config.soft_cap is not None:
        logits = loss_config.soft_cap * torch.tanh(logits / loss_config.soft_cap)
    log_sums = logits.logsumexp(-1)[targets != IGNORE]
    loss = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
    return loss + loss_config.z_loss * log_sums.square().sum(), loss


@pytest.mark.parametrize("vocab_size", [50, 64])
@pytest.mark.parametrize("soft_cap", [None, 3.0])
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_equals_cross_entropy_of_the_product(vocab_size, soft_cap, z_loss):
    loss_config = LossConfig(vocab_size, soft_cap, z_loss)
    hidden, weight, targets = example()
    expected, cross_entropy = plain(hidden, weight, targets, loss_config)
    grads = torch.autograd.grad(expected * 0.7, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, targets, loss_config)
    (loss.total * 0.7).backward()
    assert loss.total.dtype == torch.float32 and loss.count.item() == 45
    assert not loss.cross_entropy.requires_grad
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss.cross_entropy, cross_entropy.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(hidden.grad, grads[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weight.grad, grads[1], rtol=1e-5, atol=1e-5)
    assert hidden.grad[7].abs().max() == 0
    assert weight.grad[vocab_size:].abs().sum() == 0
    with torch.no_grad():
        quiet = linear_cross_entropy(hidden, weight, targets, loss_config)
    torch.testing.assert_close(quiet.total, cross_entropy.detach(), rtol=1e-5, atol=1e-5)


def test_bf16_weights_and_hidden_states():
    hidden, weight, targets = example(rows=400, dtype=torch.bfloat16)
    expected = plain(hidden, weight, targets, LossConfig(50))[0]
    grads = torch.autograd.grad(expected, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, targets, LossConfig(50))
    loss.total.backward()
    assert loss.total.dtype == torch.float32
    assert hidden.grad.dtype == weight.grad.dtype == torch.bfloat16
    torch.testing.assert_close(loss.total, expected, rtol=1e-3, atol=0)
    for ours, exact in zip((hidden.grad, weight.grad), grads, strict=True):
        error = (ours - exact).float().norm() / exact.float().norm()
        assert error < 0.01


def test_weight_gradient_is_summed_in_fp32():
    """In bf16 a sum of 1024 equal small products would stop growing at 256 of them."""
    rows = 1024
    hidden = torch.full((rows, 1), 1.0, dtype=torch.bfloat16)
    weight = torch.zeros(16, 1, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.zeros(rows, dtype=torch.int64)
    linear_cross_entropy(hidden, weight, targets, LossConfig(16)).total.backward()
    torch.testing.assert_close(weight.grad[1].float().item(), rows / 16, rtol=1e-2, atol=0)


def test_losses_far_below_one_float_step_stay_finite():
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [200.0]] + [[0.0]] * 14)
    losses, _ = token_scores(hidden, weight, torch.tensor([0]), LossConfig(16))
    assert losses.tolist() == [200.0]


def test_token_losses_are_the_parts_of_the_sum():
    hidden, weight, targets = example()
    losses, _ = token_scores(hidden, weight, targets, LossConfig(50))
    expected = F.cross_entropy(
        hidden @ weight[:50].T, targets, ignore_index=IGNORE, reduction="none"
    )
    assert not losses.requires_grad and losses.dtype == torch.float32
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        quiet = linear_cross_entropy(hidden, weight, targets, LossConfig(50))
    torch.testing.assert_close(quiet.total, losses.sum())
    assert not quiet.total.requires_grad


@pytest.mark.parametrize("soft_cap", [None, 3.0])
@pytest.mark.parametrize("vocab_size", [64, 150])
def test_targets_are_scored_in_tiles_as_in_whole_rows(monkeypatch, vocab_size, soft_cap):
    monkeypatch.setitem(loss.TILE_LOGITS, "cpu", 1)  # tiles of 64 tokens
    hidden, weight, _ = example(stored=192)
    weight.data[vocab_size:] = 100.0  # padding, which must never win
    logits = hidden @ weight[:vocab_size].T
    logits = logits if soft_cap is None else soft_cap * torch.tanh(logits / soft_cap)
    row_U = torch.arange(50).repeat_interleave(vocab_size)
    target_U = torch.arange(vocab_size).repeat(50)
    order_U = torch.randperm(50 * vocab_size, generator=torch.Generator().manual_seed(0))
    row_U, target_U = row_U[order_U], target_U[order_U]
    found, is_top = target_scores(
        hidden, weight, row_U, target_U, LossConfig(vocab_size, soft_cap=soft_cap)
    )
    expected = logits.log_softmax(1)[row_U, target_U]
    assert not found.requires_grad
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-5)
    assert torch.equal(is_top, logits.argmax(1)[row_U] == target_U)


def test_the_first_of_equal_logits_is_the_most_likely(monkeypatch):
    monkeypatch.setitem(loss.TILE_LOGITS, "cpu", 1)
    weight = torch.zeros(200, 1)
    weight[[5, 9, 70, 130]] = 1.0  # two in the first tile, one in each of the next
    target_U = torch.tensor([130, 9, 5, 70, 0])
    row_U = torch.zeros_like(target_U)
    _, is_top = target_scores(torch.ones(1, 1), weight, row_U, target_U, LossConfig(200))
    assert is_top.tolist() == [False, False, True, False, False]


def test_a_frozen_weight_gets_no_gradient():
    hidden, weight, targets = example()
    frozen = weight.detach()
    linear_cross_entropy(hidden, frozen, targets, LossConfig(50)).total.backward()
    expected = torch.autograd.grad(plain(hidden, frozen, targets, LossConfig(50))[0], hidden)[0]
    torch.testing.assert_close(hidden.grad, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("vocab_size", [320, 4096, 50304, 200064])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_are_bounded(vocab_size, dtype):
    cpu = CHUNK_ROWS(vocab_size, torch.device("cpu"), dtype)
    gpu = CHUNK_ROWS(vocab_size, torch.device("cuda"), dtype)
    assert 256 <= cpu.product <= 2048 and cpu.product * vocab_size * dtype.itemsize <= 2**28
    assert cpu.softmax >= 8 and cpu.softmax * vocab_size * 4 <= max(2**21, 32 * vocab_size)
    assert gpu.product * vocab_size * 4 <= 2**30
