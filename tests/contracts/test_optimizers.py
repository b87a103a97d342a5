"""What every optimizer must do, whatever it does inside."""

import copy

import pytest
import torch

from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import build_optimizer, set_lr
from yxanul.optim.state import load_optimizer, optimizer_tensors
from yxanul.optim.table import OPTIMIZERS

ROLES = {
    "embed": "embedding",
    "wide": "matrix",
    "tall": "matrix",
    "square": "matrix",
    "gain": "norm",
}


class Toy(torch.nn.Module):
    """An embedding, three matrices and a gain that have to learn a table of numbers."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        shapes = {"embed": (11, 8), "wide": (8, 12), "tall": (12, 8), "square": (8, 8)}
        for name, shape in shapes.items():
            weight = torch.randn(shape, generator=generator) * 0.3
            self.register_parameter(name, torch.nn.Parameter(weight))
        self.gain = torch.nn.Parameter(torch.ones(8))
        self.target = torch.randn(11, 8, generator=generator)

    def loss(self, ids):
        x = torch.tanh(self.embed[ids] @ self.wide) @ self.tall
        return ((x * self.gain) @ self.square - self.target[ids]).square().mean()


def make(name, seed=0, **changes):
    model = Toy(seed)
    settings = OptimSettings(name=name, peak_lr=1e-2, **changes)
    return model, build_optimizer(model.named_parameters(), ROLES, settings)


def train(model, optimizer, steps, start=0):
    losses = []
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        loss = model.loss(torch.randint(0, 11, (16,), generator=generator))
        loss.backward()
        set_lr(optimizer, 1 / (1 + step / 50))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


@pytest.mark.parametrize("name", OPTIMIZERS)
class TestOptimizer:
    def test_learns(self, name):
        model, optimizer = make(name)
        before = model.loss(torch.arange(11))
        train(model, optimizer, 300)
        assert model.loss(torch.arange(11)) < 0.3 * before

    def test_same_start_same_bits(self, name):
        runs = []
        for _ in range(2):
            model, optimizer = make(name)
            runs.append((train(model, optimizer, 20), weights(model)))
        assert runs[0][0] == runs[1][0]
        assert_same(runs[0][1], runs[1][1])

    def test_state_goes_out_and_in_to_the_bit(self, name):
        model, optimizer = make(name)
        train(model, optimizer, 7)
        tensors, plain = optimizer_tensors(optimizer)
        saved = {key: value.clone() for key, value in tensors.items()}
        middle = weights(model)
        straight = train(model, optimizer, 9, start=7)

        resumed, other = make(name, seed=5)
        resumed.load_state_dict(middle)
        resumed.target = model.target
        load_optimizer(other, saved, plain)
        assert train(resumed, other, 9, start=7) == straight
        assert_same(weights(resumed), weights(model))

    def test_loading_takes_copies(self, name):
        model, optimizer = make(name)
        train(model, optimizer, 2)
        tensors, plain = optimizer_tensors(optimizer)
        saved = {key: value.clone() for key, value in tensors.items()}
        before = {key: value.clone() for key, value in tensors.items()}
        fresh, other = make(name)
        load_optimizer(other, saved, plain)
        train(fresh, other, 2)
        assert_same(saved, before)

    def test_torch_state_dict_round_trips(self, name):
        model, optimizer = make(name)
        train(model, optimizer, 5)
        again, other = make(name)
        again.load_state_dict(model.state_dict())
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        assert train(again, other, 5, 5) == train(model, optimizer, 5, 5)

    def test_state_does_not_depend_on_the_order_of_parameters(self, name):
        model, optimizer = make(name)
        train(model, optimizer, 5)
        tensors, plain = optimizer_tensors(optimizer)
        again = Toy()
        turned = list(again.named_parameters())[::-1]
        other = build_optimizer(turned, ROLES, OptimSettings(name=name, peak_lr=1e-2))
        again.load_state_dict(model.state_dict())
        load_optimizer(other, tensors, plain)
        assert_same(optimizer_tensors(other)[0], tensors)
        train(model, optimizer, 3, 5)
        train(again, other, 3, 5)
        assert_same(weights(again), weights(model))

    def test_decay_shrinks_matrices_and_tables_but_no_gain(self, name):
        model, optimizer = make(name, weight_decay=0.5)
        before = weights(model)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        for key, weight in model.named_parameters():
            (rate,) = [group["lr"] for group in optimizer.param_groups if key in group["names"]]
            factor = 1.0 if key == "gain" else 1 - rate * 0.5
            assert torch.allclose(weight, before[key] * factor, rtol=1e-6), key

    def test_rate_zero_changes_nothing(self, name):
        model, optimizer = make(name)
        before = weights(model)
        set_lr(optimizer, 0.0)
        model.loss(torch.arange(11)).backward()
        optimizer.step()
        assert_same(weights(model), before)

    def test_the_step_is_proportional_to_the_rate(self, name):
        moves = []
        for fraction in (1.0, 0.25):
            model, optimizer = make(name, weight_decay=0)
            before = weights(model)
            set_lr(optimizer, fraction)
            model.loss(torch.arange(11)).backward()
            optimizer.step()
            moves.append({key: w - before[key] for key, w in weights(model).items()})
        for key in moves[0]:
            assert torch.allclose(moves[0][key] * 0.25, moves[1][key], atol=1e-6), key

    def test_a_parameter_without_gradient_stays(self, name):
        model, optimizer = make(name)
        before = weights(model)
        model.wide.grad = torch.ones_like(model.wide)
        optimizer.step()
        for key, weight in weights(model).items():
            assert torch.equal(weight, before[key]) == (key != "wide"), key

    def test_a_zero_gradient_stays_finite(self, name):
        model, optimizer = make(name)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        assert all(weight.isfinite().all() for weight in model.parameters())

    def test_a_frozen_parameter_is_left_out(self, name):
        model = Toy()
        model.tall.requires_grad_(False)
        settings = OptimSettings(name=name, peak_lr=1e-2)
        optimizer = build_optimizer(model.named_parameters(), ROLES, settings)
        train(model, optimizer, 2)
        assert torch.equal(model.tall, Toy().tall)
        assert not [name for name in optimizer_tensors(optimizer)[0] if name.endswith("tall")]
