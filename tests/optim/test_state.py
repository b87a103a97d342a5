import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import build_optimizer
from yxanul.optim.state import load_optimizer, optimizer_tensors


def make(name="adamw", **shapes):
    shapes = shapes or {"block.0.weight": (3, 4), "norm": (4,)}
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
    assert plain["parameters"] == ["block.0.weight", "norm"]


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


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"name": "muon"}, "another optimizer"),
        ({"block.0.weight": (3, 4)}, "another model"),
        ({"block.0.weight": (3, 4), "norm": (4,), "more": (2, 2)}, "such as more"),
        ({"block.0.weight": (4, 4), "norm": (4,)}, "wrong shape"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(other, sentence):
    tensors, plain = stepped()
    name = other.pop("name", "adamw")
    with pytest.raises(YxanulError, match=sentence):
        load_optimizer(make(name, **other)[1], tensors, plain)


def test_a_newer_schema_and_stray_tensors_are_refused():
    tensors, plain = stepped()
    with pytest.raises(YxanulError, match="newer"):
        load_optimizer(make()[1], tensors, plain | {"schema_version": 99})
    with pytest.raises(YxanulError, match="unknown parameter"):
        load_optimizer(make()[1], tensors | {"step.ghost": torch.zeros(())}, plain)
