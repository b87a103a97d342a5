"""Every fast path against its reference: the same values and the same gradients."""

import pytest
import torch
import torch.nn.functional as F

from yxanul.model.blocks import ffn, norm
from yxanul.model.blocks.ffn import FFNS
from yxanul.model.blocks.norm import LayerNorm, RmsNorm
from yxanul.model.blocks.rope import RopeTables, rotate

ONE_PERCENT = 1e-2


def values_and_gradients(function, *inputs):
    """Return the output and the gradients of all inputs for a fixed upstream gradient."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    y = function(*leaves)
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(9)).to(y.dtype)
    return y.detach(), *torch.autograd.grad(y, leaves, upstream)


def assert_twins(fast, slow, *inputs):
    for ours, expected in zip(
        values_and_gradients(fast, *inputs), values_and_gradients(slow, *inputs), strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def assert_near_in_bf16(fast, slow, *inputs):
    """In bf16 the fast path must be as near to the fp32 result as rounding allows."""
    low = [x.bfloat16() for x in inputs]
    exact = values_and_gradients(slow, *(x.float() for x in low))
    for ours, expected in zip(values_and_gradients(fast, *low), exact, strict=True):
        assert ours.dtype == torch.bfloat16
        assert (ours - expected).norm() <= ONE_PERCENT * expected.norm()


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain_rms_norm(x, gain):
    return gain * x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()


def fast_rms_norm(x, gain):
    return torch.func.functional_call(RmsNorm(x.shape[-1], 1e-5), {"gain": gain}, (x,))


def test_rms_norm():
    x, gain = normal(3, 5, 48) * 3 + 1, normal(48, seed=1)
    assert_twins(fast_rms_norm, plain_rms_norm, x, gain)
    assert_near_in_bf16(fast_rms_norm, plain_rms_norm, x, gain)


def test_rms_norm_of_a_slice_as_for_q_and_k():
    qkv = normal(2, 5, 6, 16)

    def heads(function):
        return lambda x, gain: function(x[:, :, 1:4], gain)

    assert_twins(heads(fast_rms_norm), heads(plain_rms_norm), qkv, normal(16, seed=1))


def test_rms_norm_computes_in_fp32():
    """Squares of 200 overflow fp16, and sums of 4096 equal squares are lost in bf16."""
    x = torch.full((1, 4096), 200.0, dtype=torch.float16)
    assert RmsNorm(4096, 1e-5).half()(x).float().mean().item() == 1.0


def test_layer_norm_has_no_mean():
    x = normal(4, 32) + 5
    assert LayerNorm(32, 1e-5)(x).mean(-1).abs().max() < 1e-5


def half_turned(x, cos, sin):
    low, high = x.chunk(2, -1)
    return x * cos + torch.cat([-high, low], -1) * sin


def test_rotation_is_rotate_half():
    length, width = 7, 16
    angles = torch.outer(torch.arange(length), 10_000.0 ** (-torch.arange(0, width, 2) / width))
    cos, sin = (torch.cat([f(angles)] * 2, -1).unsqueeze(1) for f in (torch.cos, torch.sin))
    like = torch.empty(0)
    rope = RopeTables(width, 10_000.0, 9).at(slice(0, length), length, like)
    x = normal(2, length, 3, width)
    assert_twins(lambda x: rotate(x, rope), lambda x: half_turned(x, cos, sin), x)
    assert_near_in_bf16(lambda x: rotate(x, rope), lambda x: half_turned(x, cos, sin), x)


def test_rotated_products_depend_on_the_distance_only():
    rope = RopeTables(16, 10_000.0, 40)
    q, k = normal(1, 1, 1, 16), normal(1, 1, 1, 16, seed=1)

    def score(i, j):
        at = [rope.at(slice(n, n + 1), n + 1, q) for n in (i, j)]
        return (rotate(q, at[0]) * rotate(k, at[1])).sum().item()

    assert score(5, 2) == pytest.approx(score(33, 30), abs=1e-4)
    assert score(5, 2) != pytest.approx(score(5, 3), abs=1e-3)


def plain_gated(activation):
    def feed_forward(x, gate_up, down):
        gate, up = (x @ gate_up.T).chunk(2, -1)
        return (activation(gate) * up) @ down.T

    return feed_forward


PLAIN_FFNS = {
    "swiglu": plain_gated(F.silu),
    "geglu": plain_gated(lambda x: F.gelu(x, approximate="tanh")),
    "gelu": lambda x, up, down: F.gelu(x @ up.T, approximate="tanh") @ down.T,
    "relu2": lambda x, up, down: (x @ up.T).relu() ** 2 @ down.T,
}


@pytest.mark.parametrize("name", FFNS)
def test_feed_forward(name):
    module = FFNS[name](16, 24)
    names = [n for n, _ in module.named_parameters()]
    weights = [normal(*p.shape, seed=2) * 0.3 for p in module.parameters()]

    def fast(x, *weights):
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))

    assert len(weights) == 2
    assert_twins(fast, PLAIN_FFNS[name], normal(2, 3, 16), *weights)


def test_the_formulas_for_compilers_are_the_same(monkeypatch):
    x, models = normal(2, 3, 16), [RmsNorm(16, 1e-5), FFNS["swiglu"](16, 24), FFNS["geglu"](16, 24)]
    for model in models:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(4))
    on_cpu = [values_and_gradients(model, x) for model in models]
    for module in (norm, ffn):
        monkeypatch.setattr(module, "is_eager_cpu", lambda _: False)
    for model, expected in zip(models, on_cpu, strict=True):
        for ours, theirs in zip(values_and_gradients(model, x), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
