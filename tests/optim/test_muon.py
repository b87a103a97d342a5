import pytest
import torch

from yxanul.optim.adamw import build as build_adamw
from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import parameter_groups
from yxanul.optim.muon import QUINTIC, orthogonalize
from yxanul.optim.muon import build as build_muon


def slow_orthogonal(matrix):
    """The published iteration on one matrix in fp64: the reference."""
    a, b, c = QUINTIC
    x = matrix.double()
    x = x.mT if len(matrix) > matrix.shape[1] else x
    x = x / x.norm()
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if len(matrix) > matrix.shape[1] else x


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def product_dtype(request):
    return request.param


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24), (1, 8)])
def test_the_batch_equals_the_iteration_one_by_one(shape, product_dtype):
    generator = torch.Generator().manual_seed(1)
    matrices = [torch.randn(shape, generator=generator) * scale for scale in (1e-8, 1.0, 1e8)]
    tolerance = 1e-5 if product_dtype == torch.float32 else 0.05
    for fast, matrix in zip(orthogonalize(matrices, product_dtype), matrices, strict=True):
        wanted = slow_orthogonal(matrix)
        if matrix.norm() > 1e-5:
            assert (fast - wanted).norm() < tolerance * wanted.norm()


def test_singular_values_come_near_one(product_dtype):
    generator = torch.Generator().manual_seed(2)
    (whole,) = orthogonalize([torch.randn(32, 96, generator=generator)], product_dtype)
    values = torch.linalg.svdvals(whole.float())
    assert values.min() > 0.5 and values.max() < 1.3


def test_an_update_has_the_size_of_adamw():
    """0.2 per element, whatever the shape."""
    generator = torch.Generator().manual_seed(3)
    for shape in [(64, 64), (32, 128), (128, 32)]:
        weight = torch.nn.Parameter(torch.zeros(shape))
        settings = OptimSettings(name="muon", peak_lr=1.0, muon_lr=1.0, weight_decay=0)
        groups = parameter_groups([("w", weight)], {"w": "matrix"}, settings)
        optimizer = build_muon(groups, settings)
        weight.grad = torch.randn(shape, generator=generator)
        optimizer.step()
        assert 0.14 < weight.square().mean().sqrt() < 0.24


def test_tables_and_gains_move_exactly_as_under_adamw():
    generator = torch.Generator().manual_seed(4)
    start = {"t": torch.randn(9, 4, generator=generator), "g": torch.randn(4, generator=generator)}
    roles = {"t": "embedding", "g": "norm"}
    ends = []
    for build, name in ((build_muon, "muon"), (build_adamw, "adamw")):
        settings = OptimSettings(name=name, peak_lr=1e-2)
        named = {key: torch.nn.Parameter(value.clone()) for key, value in start.items()}
        optimizer = build(parameter_groups(named.items(), roles, settings), settings)
        for _ in range(5):
            for parameter in named.values():
                parameter.grad = parameter.detach().sin()
            optimizer.step()
        ends.append(named)
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in start)


def test_the_batch_does_not_mix_its_members():
    """A matrix moves the same whether others of its shape are there or not."""
    generator = torch.Generator().manual_seed(5)
    matrices = [torch.randn(8, 12, generator=generator) for _ in range(3)]
    alone = orthogonalize(matrices[:1], torch.float32)[0]
    together = orthogonalize(matrices, torch.float32)[0]
    assert torch.allclose(alone.float(), together.float(), atol=1e-6)


def test_the_rate_of_matrices_follows_the_peak_unless_it_is_given():
    def rate(**changes):
        settings = OptimSettings(name="muon", peak_lr=1e-3, **changes)
        named = [("w", torch.nn.Parameter(torch.zeros(2, 2)))]
        groups = parameter_groups(named, {"w": "matrix"}, settings)
        return build_muon(groups, settings).param_groups[0]["base_lr"]

    assert rate() == 4e-3
    assert rate(muon_lr=7e-3) == 7e-3


def test_momentum_rises_from_085_to_095_within_300_updates():
    generator = torch.Generator().manual_seed(6)
    weight = torch.nn.Parameter(torch.zeros(4, 6))
    settings = OptimSettings(name="muon", peak_lr=1e-3)
    optimizer = build_muon(parameter_groups([("w", weight)], {"w": "matrix"}, settings), settings)
    mean = torch.zeros(4, 6, dtype=torch.float64)
    for update in range(310):
        weight.grad = torch.randn(4, 6, generator=generator)
        momentum = 0.85 + 0.1 * min(1, update / 300)
        mean = momentum * mean + (1 - momentum) * weight.grad.double()
        optimizer.step()
    assert torch.allclose(optimizer.state[weight]["momentum"].double(), mean, atol=1e-6)
