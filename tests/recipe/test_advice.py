import pytest

from recipes import TINY, write_tiny
from yxanul.eval.score import Score, mix_metrics
from yxanul.monitor.alerts import ALERTS
from yxanul.monitor.alerts.monitor import GENERIC
from yxanul.recipe import load_recipe
from yxanul.recipe.advice import advice_values


def recipe_with(folder, *overrides):
    return load_recipe(str(write_tiny(folder, TINY)), overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optim.name=muon", "optim.muon_lr=2e-2", "optim.grad_clip=null"],
        ["optim.schedule={name: cosine, warmup_fraction: 0.05}"],
        ["stages.0.optim={peak_lr: 4e-3, schedule: {name: constant}}"],
    ],
)
def test_advice_can_be_pasted(tmp_path, overrides):
    recipe = recipe_with(tmp_path, *overrides)
    values = advice_values(recipe, 0)
    assert values.keys() == GENERIC.keys()
    for text in values.values():
        assert recipe_with(tmp_path, *overrides, *text.split()) != recipe
    for rule in ALERTS.values():
        rule.advice.format(**values, run="r", step=1)


def test_rates_are_those_of_the_keys_that_decide(tmp_path):
    overrides = ["optim.name=muon", "optim.peak_lr=3e-3", "optim.muon_lr=2e-2"]
    recipe = recipe_with(tmp_path, *overrides, "stages.1.optim.peak_lr=4e-3")
    assert advice_values(recipe, 0)["lower_lr"] == "optim.peak_lr=0.0015 optim.muon_lr=0.01"
    assert advice_values(recipe, 1)["lower_lr"] == "stages.1.optim.peak_lr=0.002"
    assert advice_values(recipe, 0)["longer_warmup"] == "optim.schedule.warmup_steps=4"


def test_the_loss_of_a_mix_is_that_of_its_domains_by_their_shares():
    scores = {"a": Score(2.0, 100, 300), "b": Score(4.0, 10, 30), "old": Score(9.0, 5, 60)}
    found = mix_metrics(scores, {"a": 3.0, "b": 1.0, "none": 0.0})
    assert found["val/mix_loss"] == pytest.approx(2.5)
    assert found["val/bytes_per_token"] == pytest.approx(390 / 115)
