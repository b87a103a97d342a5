"""A stage that fails its gate goes on once, with a schedule of its own."""

import shutil

import pytest

from recipes import TINY, write_tiny
from running import assert_same_run, call, series, stage_of, step_of, stop_at

FAILS = TINY.replace(
    "budget: {steps: 14}",
    "budget: {steps: 40}\n    on_fail: {extend: {share: 0.5}}\n"
    "    gate: {rules: [{metric: val/*/loss, against: start, at_most: 1.0e-9}]}",
).replace("eval: {every_steps: 5", "eval: {every_steps: 500")


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """A run whose first stage fails its gate twice."""
    folder = tmp_path_factory.mktemp("failed")
    recipe, out = write_tiny(folder, FAILS), folder / "run"
    assert call("prepare", recipe, "--out", out).code == 0
    shutil.copytree(out, folder / "prepared")
    said = call("train", recipe, "--out", out)
    assert said.code == 3
    assert "extended by 5,120 tokens" in said.err
    return recipe, out


def test_it_trains_half_its_budget_more_and_is_judged_again(failed):
    _, out = failed
    entry = stage_of(out)
    assert (entry["steps"], entry["status"]) == (60, "failed")
    (action,) = entry["actions"]
    assert (action["kind"], action["step"], action["tokens"]) == ("extend", 40, 5120)
    assert action["failures"] and "val/stories/loss" in action["failures"][0]
    assert step_of(out) == 60


def test_the_rate_rises_to_half_the_peak_and_comes_down_again(failed):
    _, out = failed
    rates = series(out, "optim/learning_rate")
    assert len(rates) == 60 and rates[39] < 0.03 * max(rates)
    more = rates[40:]
    # The phase has half of the schedule's rate, and the extension half of the peak.
    assert max(more) == more[0] == pytest.approx(0.5 * 0.5 * 1e-2)
    assert more == sorted(more, reverse=True) and more[-1] <= 0.06 * more[0]
    assert set(series(out, "data/sequence_length")[40:]) == {64}


@pytest.mark.parametrize("step", [40, pytest.param(41, marks=pytest.mark.slow), 50])
def test_stopped_around_it_it_is_the_same_run(failed, tmp_path, monkeypatch, step):
    recipe, straight = failed
    out = shutil.copytree(straight.parent / "prepared", tmp_path / "run")
    stop_at(recipe, out, monkeypatch, step)
    assert call("train", recipe, "--out", out).code == 3
    assert_same_run(out, straight)


def test_a_loosened_gate_passes_without_more_training(failed, tmp_path):
    recipe, straight = failed
    out = shutil.copytree(straight, tmp_path / "run")
    assert call("train", recipe, "stages.0.gate.rules=[]", "--out", out).code == 0
    assert stage_of(out)["steps"] == 60 and step_of(out) == 70


def test_without_it_a_failed_gate_stops_the_run(failed, tmp_path):
    recipe, straight = failed
    out = shutil.copytree(straight.parent / "prepared", tmp_path / "run")
    said = call(
        "train", recipe, "stages.0.on_fail=stop", "stages.0.budget={steps: 5}", "--out", out
    )
    assert said.code == 3 and step_of(out) == 5
