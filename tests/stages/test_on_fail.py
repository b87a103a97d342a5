"""What follows a failed gate: rollback, replay, several in order; exact if stopped or replayed."""

import json
import shutil

import pytest

from recipes import TINY, write_tiny
from running import assert_same_run, call, series, stage_of, step_of, stop_at
from yxanul.base.run_folder import RunFolder
from yxanul.recipe import load_recipe
from yxanul.stages.ledger import Action
from yxanul.stages.plan import repeated_from
from yxanul.stages.replay import locate_step

IMPOSSIBLE = "gate: {rules: [{metric: val/*/loss, at_most: 1.0e-9}]}"
ACTIONS = "[{rollback: {lr_scale: 0.25, times: 2}}, {extend: {share: 0.25}}]"
RECIPE = (
    # The second phase learns far too fast: the best checkpoint is an early one.
    TINY.replace("lr_scale: 0.5, grad_clip: 0.7}", "lr_scale: 40}\n    " + IMPOSSIBLE)
    .replace("budget: {steps: 14}", f"budget: {{steps: 20}}\n    on_fail: {ACTIONS}")
    .replace("optim: {name: adamw", "optim: {ema: {decay: 0.5}, name: adamw")
)


@pytest.fixture(scope="module")
def failed(recipe, prepared, tmp_path_factory):
    """A run whose first stage is rolled back, extended and fails all the same."""
    out = shutil.copytree(prepared, tmp_path_factory.mktemp("failed") / "run")
    said = call("train", recipe, "--out", out, "--json")
    assert said.code == 3, said.err
    return out, said


def test_actions_are_tried_in_their_order(failed):
    out, said = failed
    actions = stage_of(out)["actions"]
    assert [action["attempt"] for action in actions] == sorted(a["attempt"] for a in actions)
    assert actions[0]["kind"] == "rollback" and actions[-1]["kind"] == "extend"
    assert f"attempt {actions[0]['attempt'] + 1} of 3" in said.err
    assert stage_of(out)["status"] == "failed" and step_of(out) == stage_of(out)["steps"]


def test_a_rollback_goes_on_from_the_best_checkpoint_with_a_lower_rate(failed):
    out, _ = failed
    first = stage_of(out)["actions"][0]
    best, rates = first["from_step"], series(out, "optim/learning_rate")
    assert first["step"] == 20 and 0 < best < 20
    again = rates[20 : 40 - best]
    assert again == pytest.approx([0.25 * rate for rate in rates[best:20]])
    losses = series(out, "train/loss")
    assert losses[20] < losses[19]  # the weights are those of the best checkpoint


def test_a_second_rollback_to_the_same_step_repeats_the_same_steps(failed):
    out, _ = failed
    first, second = stage_of(out)["actions"][:2]
    if second["kind"] == "rollback" and second["from_step"] == first["from_step"]:
        assert second["tokens"] == first["tokens"]
        rates, begin = series(out, "optim/learning_rate"), second["step"]
        count = begin - first["step"]
        again = rates[begin : begin + count]
        assert again == pytest.approx([0.25 * rate for rate in rates[first["step"] : begin]])
    assert repeated_from((), 7) == 7
    rollbacks = [Action("rollback", step, 0, 1, from_step=7) for step in (20, 33)]
    assert repeated_from(rollbacks, 7) == 33 and repeated_from(rollbacks, 25) == 25


def test_it_ends_with_what_was_reached(failed):
    _, said = failed
    answer = json.loads(said.out)
    assert not answer["verdict"]["passed"]
    assert answer["samples"] and answer["held_out"]["stories"]["bits_per_byte"] > 0


def test_replayed_with_its_ledger_it_is_the_same_run(recipe, failed, out):
    straight, _ = failed
    shutil.copy(straight / "ledger.json", out)
    assert call("train", recipe, "--out", out).code == 3
    assert_same_run(out, straight)


@pytest.mark.parametrize(
    "step", [*(pytest.param(n, marks=pytest.mark.slow) for n in (19, 21)), 20, 26]
)
def test_stopped_around_it_it_is_the_same_run(recipe, failed, out, monkeypatch, step):
    straight, _ = failed
    stop_at(recipe, out, monkeypatch, step)
    assert call("train", recipe, "--out", out).code == 3
    assert_same_run(out, straight)


REPLAY = (
    TINY.replace(
        "budget: {tokens: 2560}",
        "replay: 0.25\n    budget: {tokens: 2560}\n"
        "    on_fail: {replay: {raise_to: 0.5, share: 1.0}}",
    )
    .replace("mix: {math: 0.75, stories: 0.25}", "mix: {math: 1.0}")
    .replace(
        "default_rules: false, rules: [{metric: val/*/perplexity, against: best, at_most: 9}]",
        "rules: [{metric: val/*/loss, at_most: 1.0e-9}]",
    )
)


def test_a_share_of_the_rows_comes_from_earlier_stages_and_is_raised(tmp_path):
    recipe, out, again = write_tiny(tmp_path, REPLAY), tmp_path / "run", tmp_path / "again"
    assert call("prepare", recipe, "--out", out).code == 0
    shutil.copytree(out, again)
    said = call("train", recipe, "--out", out)
    assert said.code == 3 and "50% of them" in said.err
    entry = stage_of(out, 1)
    (action,) = entry["actions"]
    assert (action["kind"], action["replay"], action["tokens"]) == ("replay", 0.5, 2560)
    loaded, folder = load_recipe(str(recipe)), RunFolder(out)
    rows = [locate_step(folder, loaded, 15 + k).rows for k in range(20)]
    counts = [
        sum(row.source == "stories" for some in half for row in some)
        for half in (rows[:10], rows[10:])
    ]
    assert counts == [10, 20]  # of 40 rows each
    assert step_of(out) == 34
    shutil.copy(out / "ledger.json", again)
    assert call("train", recipe, "--out", again).code == 3
    assert_same_run(again, out)


def test_replay_needs_an_earlier_stage(tmp_path):
    recipe = write_tiny(tmp_path)
    for bad in ("stages.0.replay=0.2", "stages.0.on_fail={replay: {raise_to: 0.5}}"):
        said = call("show", recipe, bad)
        assert said.code == 2 and "nothing to replay" in said.error


def test_an_action_is_one_of_three(tmp_path):
    recipe = write_tiny(tmp_path)
    said = call("show", recipe, "stages.1.on_fail={extend: {}, rollback: {}}")
    assert said.code == 2 and "extend and rollback" in said.error
