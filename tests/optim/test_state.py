import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import build_optimizer
from yxanul.optim.state import load_optimizer, optimizer_tensors


def make(name="adamw"):
    shapes = {"block.0.weight": (3, 4), "norm": (4,)}
    named = {key: torch.nn.Parameter(torch.ones(shape)) for key, shape in shapes.items()}
    roles = {key: "matrix" for key in named}
    return named, build_optimizer(named.items(), roles, OptimSettings(name=name, peak_lr=0.1))


def stepped(name="adamw"):
    named, optimizer = make(name)
    for parameter in named.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer_tensors(optimizer)


def test_names_say_what_and_of_which_parameter():
    tensors, plain = stepped()
    assert set(tensors) == {
        f"{what}.{name}"
        for what in ("step", "exp_avg", "exp_avg_sq")
        for name in ("block.0.weight", "norm")
    }
    assert plain == {"optimizer": "AdamW"}


def test_a_fresh_optimizer_has_no_tensors_and_loads_none():
    tensors, plain = optimizer_tensors(make()[1])
    assert tensors == {}
    load_optimizer(make()[1], tensors, plain)


def test_rates_and_decay_are_the_new_recipes():
    tensors, plain = stepped()
    _, optimizer = make()
    optimizer.param_groups[0]["weight_decay"] = 0.7
    load_optimizer(optimizer, tensors, plain)
    assert optimizer.param_groups[0]["weight_decay"] == 0.7


def test_the_state_of_another_optimizer_is_refused():
    tensors, plain = stepped()
    with pytest.raises(YxanulError, match="another optimizer"):
        load_optimizer(make("muon")[1], tensors, plain)
