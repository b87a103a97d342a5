"""Losses and gradients: each precision, compiled layers, checkpointing, documents, the fused loss.

Attention back ends: tests/contracts/test_attention.py, which uses a GPU where there is one.
"""

import pytest
import torch
import torch.nn.functional as F

from yxanul.model.compile import compile_unsupported_reason
from yxanul.model.loss import LossConfig, linear_cross_entropy
from yxanul.train.mixed_precision.fp8 import has_fp8
from yxanul.train.mixed_precision.weights import MixedPrecision

KINDS = {
    "llama": {},
    "gemma": {
        "norm": "zero_centered_rmsnorm", "post_norm": True, "qk_norm": True, "ffn": "geglu",
        "layer_pattern": "LG", "window": 32,
    },
    "documents": {"document_masking": True},
    "folded": {"embedding_rank": 32, "head": "folded"},
}  # fmt: skip


def loss_and_gradients(model, ids):
    """Return the mean loss and all gradients in one fp32 vector."""
    documents = (torch.arange(ids.shape[1], device=ids.device) // 50).expand_as(ids)
    loss = model.loss(ids, ids.roll(-1, 1), documents)
    (loss.total / ids.numel()).backward()
    gradients = [p.grad.flatten().float() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return float(loss.cross_entropy) / ids.numel(), torch.cat(gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_fp32_equals_the_cpu(build, ids, kind):
    model = build(**KINDS[kind])
    loss, gradients = loss_and_gradients(model, ids)
    expected_loss, expected = loss_and_gradients(model.cpu(), ids.cpu())
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    torch.testing.assert_close(gradients.cpu(), expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("precision", "cosine"), [("bf16", 0.995), ("fp16", 0.999), ("fp8", 0.97)])
def test_low_precision_points_the_same_way(build, ids, device, kind, precision, cosine):
    if precision == "fp8" and not has_fp8(device):
        pytest.skip("no fp8 units")
    model = build(**KINDS[kind])
    expected_loss, expected = loss_and_gradients(model, ids)
    mixed = MixedPrecision(model, precision)
    with mixed.forward_context():
        loss = mixed.model.loss(
            ids, ids.roll(-1, 1), (torch.arange(128, device=device) // 50).expand_as(ids)
        )
    (loss.total / ids.numel() * mixed.loss_factor).backward()
    mixed.collect()
    found = torch.cat([p.grad.flatten() for p in mixed.master_model.parameters()])
    assert float(loss.cross_entropy) / ids.numel() == pytest.approx(expected_loss, rel=2e-2)
    assert F.cosine_similarity(found, expected, dim=0) > cosine


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_equals_eager(build, ids, gpu, kind, dtype):
    if (reason := compile_unsupported_reason(gpu.type)) is not None:
        pytest.skip(reason)
    model = build(**KINDS[kind]).to(dtype)
    expected_loss, expected = loss_and_gradients(model, ids)
    model.compiles = True
    loss, gradients = loss_and_gradients(model, ids)
    assert loss == pytest.approx(expected_loss, rel=1e-4 if dtype is torch.float32 else 1e-2)
    assert F.cosine_similarity(gradients, expected, dim=0) > 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing_changes_no_bit(build, ids, kind):
    model = build(**KINDS[kind])
    expected_loss, expected = loss_and_gradients(model, ids)
    model.checkpoint_every = 1
    loss, gradients = loss_and_gradients(model, ids)
    assert loss == expected_loss
    torch.testing.assert_close(gradients, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("config", [{}, {"soft_cap": 5.0}, {"z_loss": 1e-2}], ids=str)
def test_the_fused_loss_is_the_formula(device, compiled, config):
    if compiled and (device.type == "cpu" or compile_unsupported_reason(device.type)):
        pytest.skip("the compiled loss needs a GPU and a compiler")
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3000, 32, generator=generator).to(device).requires_grad_()
    weight = torch.randn(1024, 32, generator=generator).to(device).requires_grad_()
    targets = torch.randint(1000, (3000,), generator=generator).to(device)
    loss = linear_cross_entropy(
        hidden, weight, targets, LossConfig(1000, **config, compiled=compiled)
    )
    found = torch.autograd.grad(loss.total, (hidden, weight))
    logits = hidden.double() @ weight.double()[:1000].T
    if "soft_cap" in config:
        logits = 5.0 * torch.tanh(logits / 5.0)
    expected = F.cross_entropy(logits, targets, reduction="sum")
    assert float(loss.cross_entropy) == pytest.approx(expected.item(), rel=1e-4)
    expected = expected + config.get("z_loss", 0.0) * logits.logsumexp(-1).square().sum()
    for ours, theirs in zip(found, torch.autograd.grad(expected, (hidden, weight)), strict=True):
        torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=2e-2, atol=2e-2)
