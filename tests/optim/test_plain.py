"""Lion, Sophia and Adafactor against the formulas of their papers, element by element in fp64."""

import math

import numpy as np
import pytest
import torch

from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import build_optimizer, set_lr
from yxanul.optim.state import load_optimizer, optimizer_tensors

ROLES = {"table": "embedding", "matrix": "matrix", "gain": "norm"}
SHAPES = {"table": (5, 3), "matrix": (4, 6), "gain": (7,)}
RATE, DECAY, STEPS = 3e-2, 0.2, 12


def lion(weight, grad, memory, rate, decay):
    """Algorithm 2 of the paper."""
    m = memory.setdefault("m", np.zeros_like(weight))
    direction = np.sign(0.9 * m + (1 - 0.9) * grad)
    memory["m"] = 0.99 * m + (1 - 0.99) * grad
    return weight - rate * (direction + decay * weight)


def sophia(weight, grad, memory, rate, decay):
    """Algorithm 3 of the paper, with an estimate for every third step."""
    m = memory["m"] = 0.965 * memory.get("m", np.zeros_like(weight)) + (1 - 0.965) * grad
    h = memory.get("h", np.zeros_like(weight))
    weight = weight - rate * decay * weight
    moved = np.empty_like(weight)
    for place in np.ndindex(weight.shape):
        bounded = m[place] / max(0.05 * h[place], 1e-12)
        moved[place] = weight[place] - rate * min(1.0, max(-1.0, bounded))
    return moved


def sophia_sees(memory, grad, num_targets):
    h = memory.get("h", np.zeros_like(grad))
    memory["h"] = 0.99 * h + (1 - 0.99) * num_targets * grad**2


def adafactor(weight, grad, memory, rate, decay):
    """Algorithms 4 and 5 of the paper, without the scale of the weights."""
    t = memory["t"] = memory.get("t", 0) + 1
    beta = 1 - t**-0.8
    squares = grad**2 + 1e-30
    if weight.ndim == 1:
        memory["v"] = beta * memory.get("v", 0) + (1 - beta) * squares
        second = memory["v"]
    else:
        memory["r"] = beta * memory.get("r", 0) + (1 - beta) * squares.sum(1)
        memory["c"] = beta * memory.get("c", 0) + (1 - beta) * squares.sum(0)
        second = np.outer(memory["r"], memory["c"]) / memory["r"].sum()
    update = grad / np.sqrt(second)
    update = update / max(1.0, math.sqrt((update**2).mean()))
    return weight - rate * update - rate * decay * weight


PLAIN = {"lion": lion, "sophia": sophia, "adafactor": adafactor}


def make(name, seed=1):
    generator = torch.Generator().manual_seed(seed)
    named = {
        key: torch.nn.Parameter(torch.randn(shape, generator=generator))
        for key, shape in SHAPES.items()
    }
    settings = OptimSettings(name=name, peak_lr=RATE, weight_decay=DECAY)
    return named, build_optimizer(named.items(), ROLES, settings)


def gradients(step, scale=1.0):
    generator = torch.Generator().manual_seed(1000 + step)
    return {key: scale * torch.randn(shape, generator=generator) for key, shape in SHAPES.items()}


def give(named, grads):
    for key, param in named.items():
        param.grad = grads[key].clone()


def advance(name, named, optimizer, first, last):
    for step in range(first, last):
        if name == "sophia" and step % 3 == 0:
            give(named, gradients(step, 0.3))
            optimizer.update_hessian(40)
        give(named, gradients(step))
        set_lr(optimizer, 1 - step / 20)
        optimizer.step()


@pytest.mark.parametrize("name", PLAIN)
def test_walks_as_the_paper_says(name):
    named, optimizer = make(name)
    weights = {key: param.detach().double().numpy().copy() for key, param in named.items()}
    memories = {key: {} for key in SHAPES}
    for step in range(STEPS):
        for key, grad in gradients(step).items():
            if name == "sophia" and step % 3 == 0:
                sophia_sees(memories[key], gradients(step, 0.3)[key].double().numpy(), 40)
            rate, decay = RATE * (1 - step / 20), 0.0 if key == "gain" else DECAY
            weights[key] = PLAIN[name](
                weights[key], grad.double().numpy(), memories[key], rate, decay
            )
        advance(name, named, optimizer, step, step + 1)
        for key, param in named.items():
            np.testing.assert_allclose(param.detach().numpy(), weights[key], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", PLAIN)
def test_goes_on_to_the_bit_with_all_of_its_state(name):
    named, optimizer = make(name)
    advance(name, named, optimizer, 0, 5)
    tensors, plain = optimizer_tensors(optimizer)
    resumed, other = make(name, seed=2)
    with torch.no_grad():
        for key, param in resumed.items():
            param.copy_(named[key])
    load_optimizer(other, {key: value.clone() for key, value in tensors.items()}, plain)
    advance(name, named, optimizer, 5, STEPS)
    advance(name, resumed, other, 5, STEPS)
    assert all(torch.equal(named[key], resumed[key]) for key in SHAPES)


def test_adafactor_is_torchs_but_for_the_scale_of_the_weights():
    named, optimizer = make("adafactor")
    theirs = {key: torch.nn.Parameter(param.detach().clone()) for key, param in named.items()}
    rate = 1e-3  # low enough that torch's does not lower it by itself
    other = torch.optim.Adafactor(theirs.values(), lr=rate, eps=(1e-15, 1e-3))
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    for step in range(STEPS):
        set_lr(optimizer, rate / RATE)
        starts = {key: param.detach().clone() for key, param in named.items()}
        with torch.no_grad():
            for key, param in theirs.items():
                param.copy_(starts[key])
        for both in (named, theirs):
            give(both, gradients(step))
        optimizer.step()
        other.step()
        for key, start in starts.items():
            size = start.square().mean().sqrt()
            ours, wanted = named[key] - start, (theirs[key] - start) / size
            torch.testing.assert_close(ours, wanted, rtol=1e-3, atol=2e-7)


def test_adafactor_remembers_rows_and_columns_alone():
    named, optimizer = make("adafactor")
    advance("adafactor", named, optimizer, 0, 1)
    tensors, _ = optimizer_tensors(optimizer)
    assert tensors["rows.matrix"].shape == (4, 1)
    assert tensors["columns.matrix"].shape == (1, 6)
    assert tensors["square.gain"].shape == (7,)
    assert {name.split(".")[0] for name in tensors} == {"step", "rows", "columns", "square"}


def test_curvature_slows_the_steep_elements_and_bounds_the_flat_ones():
    named, optimizer = make("sophia")
    before = named["gain"].detach().clone()
    give(named, {**gradients(0), "gain": torch.tensor([100.0, 0, 0, 0, 0, 0, 0])})
    optimizer.update_hessian(10)
    give(named, {**gradients(0), "gain": torch.ones(7)})
    optimizer.step()
    moved = (before - named["gain"].detach()) / RATE
    assert moved[1:].tolist() == pytest.approx([1.0] * 6)
    assert moved[0] == pytest.approx(0.035 / (0.05 * 0.01 * 10 * 100**2), rel=1e-3)
