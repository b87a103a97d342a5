import math

import pytest
import torch

from yxanul.optim.clip import clip_gradients


def with_gradients(*values):
    parameters = [torch.nn.Parameter(torch.zeros(len(v))) for v in values]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = torch.tensor(value)
    return parameters


def clip(parameters, *rest):
    return clip_gradients((parameter.grad for parameter in parameters), *rest)


def test_the_norm_returned_is_the_one_before_clipping():
    parameters = with_gradients([3.0, 0.0], [0.0, 4.0])
    assert clip(parameters, 1.0) == pytest.approx(5.0)
    assert torch.allclose(parameters[0].grad, torch.tensor([0.6, 0.0]))
    assert torch.allclose(parameters[1].grad, torch.tensor([0.0, 0.8]))
    assert clip(parameters, None) == pytest.approx(1.0)


@pytest.mark.parametrize("max_norm", [None, 5.1])
def test_small_gradients_are_left_alone_to_the_bit(max_norm):
    parameters = with_gradients([3.0, 0.1], [0.3, 3.9])
    before = [parameter.grad.clone() for parameter in parameters]
    clip(parameters, max_norm)
    assert all(torch.equal(p.grad, b) for p, b in zip(parameters, before, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_anything_not_finite_shows_in_the_norm_and_nothing_is_scaled(bad):
    parameters = with_gradients([3.0, 4.0], [bad, 0.0])
    assert not math.isfinite(clip(parameters, 1.0))
    assert torch.equal(parameters[0].grad, torch.tensor([3.0, 4.0]))


def test_bf16_gradients_have_an_fp32_norm():
    parameter = torch.nn.Parameter(torch.zeros(10_000, dtype=torch.bfloat16))
    parameter.grad = torch.full_like(parameter, 0.125)
    assert clip([parameter], None) == pytest.approx(12.5, rel=1e-6)


def test_without_gradients_the_norm_is_zero():
    assert clip([torch.nn.Parameter(torch.zeros(2))], 1.0) == 0.0


def test_of_parts_the_norm_is_that_of_the_whole():
    """Each process has a part; what the others have comes in by the sum of squares."""
    for others in (0.0, 144.0):
        parameters = with_gradients([3.0, 0.0], [0.0, 4.0])
        norm = clip(parameters, 1.0, lambda squares, o=others: squares + o)
        assert norm == pytest.approx(math.sqrt(25 + others))
        assert parameters[0].grad[0] == pytest.approx(3 / norm)
    assert clip([], 1.0, lambda squares: squares + 4) == pytest.approx(2.0)
    bad = with_gradients([1.0])
    assert math.isnan(clip(bad, 0.5, lambda squares: squares + math.nan))
    assert bad[0].grad == 1.0
