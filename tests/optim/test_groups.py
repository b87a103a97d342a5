import pytest
import torch

from yxanul.optim.config import OptimSettings
from yxanul.optim.groups import parameter_groups, set_rate
from yxanul.optim.muon import build_muon

SETTINGS = OptimSettings(peak_rate=1e-3, weight_decay=0.1)


def parameters(**shapes):
    return {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}


def test_groups_follow_roles_and_keep_names():
    named = parameters(a=(3, 4), b=(4,), c=(5, 3), d=(2, 2))
    roles = {"a": "matrix", "b": "gain", "c": "table", "d": "matrix"}
    groups = {group["role"]: group for group in parameter_groups(named.items(), roles, SETTINGS)}
    assert {role: group["names"] for role, group in groups.items()} == {
        "matrix": ["a", "d"],
        "table": ["c"],
        "gain": ["b"],
    }
    assert groups["matrix"]["params"][1] is named["d"]
    assert [groups[role]["weight_decay"] for role in ("matrix", "table", "gain")] == [0.1, 0.1, 0]


@pytest.mark.parametrize("role", ["matrix", "table", "gain"])
def test_every_vector_has_no_decay_whatever_its_label(role):
    (group,) = parameter_groups(parameters(norm=(7,)).items(), {"norm": role}, SETTINGS)
    assert group["weight_decay"] == 0 and group["role"] == "gain"


def test_a_gain_of_two_axes_has_no_decay():
    (group,) = parameter_groups(parameters(g=(2, 3)).items(), {"g": "gain"}, SETTINGS)
    assert group["weight_decay"] == 0


def test_unlabelled_and_wrongly_labelled_parameters_are_errors():
    with pytest.raises(ValueError, match=r"weigh has no role; did you mean 'weight'"):
        parameter_groups(parameters(weigh=(2, 2)).items(), {"weight": "matrix"}, SETTINGS)
    with pytest.raises(ValueError, match="unknown role 'bias'"):
        parameter_groups(parameters(b=(2,)).items(), {"b": "bias"}, SETTINGS)  # type: ignore


def test_set_rate_keeps_each_group_its_own_peak():
    named = parameters(a=(3, 4), b=(4,))
    settings = OptimSettings(name="muon", peak_rate=1e-3, muon_rate=2e-2)
    groups = parameter_groups(named.items(), {"a": "matrix", "b": "gain"}, settings)
    optimizer = build_muon(groups, settings)
    for fraction in (0.5, 3.5, 0.0, 1.0):
        set_rate(optimizer, fraction)
        assert [g["lr"] for g in optimizer.param_groups] == [2e-2 * fraction, 1e-3 * fraction]


def test_a_role_has_its_own_factor_on_the_rate():
    named = parameters(a=(3, 4), b=(4,), c=(5, 3))
    roles = {"a": "matrix", "b": "gain", "c": "table"}
    scales = {"table": 0.5, "gain": 0}
    settings = OptimSettings(peak_rate=1e-3, role_scales=scales)
    groups = parameter_groups(named.items(), roles, settings)
    assert {g["role"]: g["base_rate"] for g in groups} == {"matrix": 1e-3, "table": 5e-4, "gain": 0}
    settings = OptimSettings(name="muon", peak_rate=1e-3, role_scales={"matrix": 0.25})
    optimizer = build_muon(parameter_groups(named.items(), roles, settings), settings)
    set_rate(optimizer, 0.1)
    assert {g["role"]: g["lr"] for g in optimizer.param_groups} == pytest.approx(
        {"matrix": 1e-4, "table": 1e-4, "gain": 1e-4}
    )
