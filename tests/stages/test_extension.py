"""A stage that fails its gate goes on once, with a schedule of its own."""

import shutil

import pytest

from recipes import TINY
from running import assert_same_run, call, series, stage_of, step_of, stop_at

RECIPE = TINY.replace(
    "budget: {steps: 14}",
    "budget: {steps: 40}\n    on_fail: {extend: {share: 0.5}}\n"
    "    gate: {rules: [{metric: val/*/loss, against: start, at_most: 1.0e-9}]}",
).replace("eval: {every_steps: 5", "eval: {every_steps: 500")


@pytest.fixture(scope="module")
def failed(recipe, prepared, tmp_path_factory):
    """A run whose first stage fails its gate twice."""
    out = shutil.copytree(prepared, tmp_path_factory.mktemp("failed") / "run")
    said = call("train", recipe, "--out", out)
    assert said.code == 3 and "extended by 5,120 tokens" in said.err
    return out


def test_it_trains_half_its_budget_more_and_is_judged_again(failed):
    entry = stage_of(failed)
    assert (entry["steps"], entry["status"]) == (60, "failed")
    (action,) = entry["actions"]
    assert (action["kind"], action["step"], action["tokens"]) == ("extend", 40, 5120)
    assert action["failures"] and "val/stories/loss" in action["failures"][0]
    assert step_of(failed) == 60


def test_the_rate_rises_to_half_the_peak_and_comes_down_again(failed):
    rates = series(failed, "optim/learning_rate")
    assert len(rates) == 60 and rates[39] < 0.03 * max(rates)
    more = rates[40:]
    # The phase has half of the schedule's rate, and the extension half of the peak.
    assert max(more) == more[0] == pytest.approx(0.5 * 0.5 * 1e-2)
    assert more == sorted(more, reverse=True) and more[-1] <= 0.06 * more[0]
    assert set(series(failed, "data/sequence_length")[40:]) == {64}


@pytest.mark.parametrize("step", [40, pytest.param(41, marks=pytest.mark.slow), 50])
def test_stopped_around_it_it_is_the_same_run(recipe, failed, out, monkeypatch, step):
    stop_at(recipe, out, monkeypatch, step)
    assert call("train", recipe, "--out", out).code == 3
    assert_same_run(out, failed)


def test_a_loosened_gate_passes_without_more_training(recipe, failed, tmp_path):
    out = shutil.copytree(failed, tmp_path / "run")
    assert call("train", recipe, "stages.0.gate.rules=[]", "--out", out).code == 0
    assert stage_of(out)["steps"] == 60 and step_of(out) == 70
