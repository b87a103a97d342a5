import pytest
import torch

from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import parameter_groups, set_lr
from yxanul.optim.muon import build as build_muon

SETTINGS = OptimSettings(peak_lr=1e-3, weight_decay=0.1)


def parameters(**shapes):
    return {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}


def test_groups_follow_roles_and_keep_names():
    named = parameters(a=(3, 4), b=(4,), c=(5, 3), d=(2, 2))
    roles = {"a": "matrix", "b": "norm", "c": "embedding", "d": "matrix"}
    groups = {group["role"]: group for group in parameter_groups(named.items(), roles, SETTINGS)}
    assert {role: group["names"] for role, group in groups.items()} == {
        "matrix": ["a", "d"],
        "embedding": ["c"],
        "norm": ["b"],
    }
    assert groups["matrix"]["params"][1] is named["d"]
    decays = {role: group["weight_decay"] for role, group in groups.items()}
    assert decays == {"matrix": 0.1, "embedding": 0.1, "norm": 0}


@pytest.mark.parametrize("role", ["matrix", "embedding", "norm"])
def test_every_vector_has_no_decay_whatever_its_label(role):
    (group,) = parameter_groups(parameters(norm=(7,)).items(), {"norm": role}, SETTINGS)
    assert group["weight_decay"] == 0 and group["role"] == "norm"


def test_a_gain_of_two_axes_has_no_decay():
    (group,) = parameter_groups(parameters(g=(2, 3)).items(), {"g": "norm"}, SETTINGS)
    assert group["weight_decay"] == 0


def test_set_lr_keeps_each_group_its_own_peak():
    named = parameters(a=(3, 4), b=(4,))
    settings = OptimSettings(name="muon", peak_lr=1e-3, muon_lr=2e-2)
    groups = parameter_groups(named.items(), {"a": "matrix", "b": "norm"}, settings)
    optimizer = build_muon(groups, settings)
    for fraction in (0.5, 3.5, 0.0, 1.0):
        set_lr(optimizer, fraction)
        assert [g["lr"] for g in optimizer.param_groups] == [2e-2 * fraction, 1e-3 * fraction]


def test_a_role_has_its_own_factor_on_the_rate():
    named = parameters(a=(3, 4), b=(4,), c=(5, 3))
    roles = {"a": "matrix", "b": "norm", "c": "embedding"}
    scales = {"embedding": 0.5, "norm": 0}
    settings = OptimSettings(peak_lr=1e-3, lr_scale_by_role=scales)
    groups = parameter_groups(named.items(), roles, settings)
    assert {g["role"]: g["base_lr"] for g in groups} == {
        "matrix": 1e-3,
        "embedding": 5e-4,
        "norm": 0,
    }
    settings = OptimSettings(name="muon", peak_lr=1e-3, lr_scale_by_role={"matrix": 0.25})
    optimizer = build_muon(parameter_groups(named.items(), roles, settings), settings)
    set_lr(optimizer, 0.1)
    assert {g["role"]: g["lr"] for g in optimizer.param_groups} == pytest.approx(
        {"matrix": 1e-4, "embedding": 1e-4, "norm": 1e-4}
    )
