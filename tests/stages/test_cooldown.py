"""An early end of a wsd schedule: the run is the one that a shorter budget would have planned."""

import os
import shutil
import signal

from hypothesis import given, settings
from hypothesis import strategies as st

from recipes import TINY, write_tiny
from running import after_step, call, newest, series, stage_of, step_of, stop_at, trained
from yxanul.base.run_folder import RunFolder
from yxanul.optim.config import OptimSettings
from yxanul.optim.schedules import descent_start, warmup_length
from yxanul.stages.replan import cooldown_request
from yxanul.train.curriculum import Phase, Plan, is_warming_up, planned_lr
from yxanul.train.plan_changes import shorten, start_decay

WSD = (
    TINY.replace(
        "schedule: {name: linear_to_zero, warmup_steps: 2}",
        "schedule: {name: wsd, warmup_steps: 3, decay_fraction: 0.25}",
    )
    .replace("steps: 14", "steps: 60")
    .replace("every_steps: 5", "every_steps: 100")
)
RECIPE = WSD.replace("      - {seq_len: 32, share: 0.5}\n", "").replace(
    "{seq_len: 64, share: 0.5, lr_scale: 0.5, grad_clip: 0.7}", "{seq_len: 64}"
)
"""One phase: shares of a shorter budget would be other ones."""


def assert_as_planned(recipe, prepared, out, other):
    """The run equals one of a recipe with so many steps, but for what was asked for."""
    steps = stage_of(out)["cooldown_steps"]
    shutil.copytree(prepared, other)
    said = call("train", recipe, f"stages.0.budget={{steps: {steps}}}", "--out", other)
    assert said.code == 0
    ours, theirs = trained(out), trained(other)
    for one in (ours, theirs):
        for key in ("cooldown_steps", "cooldown_of"):
            one["ledger"]["stages"][0].pop(key)
    assert ours == theirs
    rates = series(out, "optim/learning_rate")
    assert rates[steps - 1] < 0.2 * max(rates[:steps])


def test_on_a_run_that_is_stopped(recipe, prepared, out, tmp_path, monkeypatch):
    stop_at(recipe, out, monkeypatch, 20)
    said = call("train", recipe, "--cooldown-now", "--out", out)
    assert said.code == 0
    assert "cooldown begins, 7 steps left" in said.err
    assert stage_of(out)["cooldown_steps"] == 28  # 21 are done, and 7 are a quarter of 28
    assert stage_of(out)["status"] == "passed" and not cooldown_request(RunFolder(out)).exists()
    assert_as_planned(recipe, prepared, out, tmp_path / "other")


def test_on_a_run_that_is_at_work_and_is_stopped_later(
    recipe, prepared, out, tmp_path, monkeypatch
):
    """Another process asks; what trains is stopped during the descent, and goes on."""

    def ask(_):
        said = call("train", recipe, "--cooldown-now", "--out", out)
        assert said.code == 0 and "to cool down" in said.out
        answers.append(said)

    answers = []
    with monkeypatch.context() as patch:
        after_step(patch, 20, ask)
        after_step(patch, 23, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        assert call("train", recipe, "--out", out).code == 143
    assert len(answers) == 1 and stage_of(out)["cooldown_steps"] == 27
    assert call("train", recipe, "--out", out).code == 0
    assert_as_planned(recipe, prepared, out, tmp_path / "other")


def test_a_run_that_warms_up_comes_down_once_it_is_up(recipe, prepared, out, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        after_step(patch, 1, lambda _: call("train", recipe, "--cooldown-now", "--out", out))
        after_step(patch, 4, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        assert call("train", recipe, "--out", out).code == 143
    assert stage_of(out)["cooldown_steps"] == 4  # a quarter of it is one step
    assert call("train", recipe, "--out", out).code == 0
    rates = series(out, "optim/learning_rate")
    assert max(rates[:4]) == 1e-2


def test_a_request_is_for_the_stage_that_was_at_work(recipe, out, monkeypatch):
    """It came too late for that one: the stage after it does not come down instead."""
    request = cooldown_request(RunFolder(out))
    with monkeypatch.context() as patch:
        after_step(patch, 9, lambda _: request.write_text("one\n"))
        said = call("train", recipe, "stages.0.budget={steps: 5}", "--out", out)
    assert said.code == 0 and step_of(out) == 15
    assert [stage_of(out, number)["cooldown_steps"] for number in (0, 1)] == [None, None]
    assert not request.exists()


def test_it_is_refused_where_there_is_nothing_to_cut(recipe, prepared, out, tmp_path, monkeypatch):
    said = call("train", recipe, "--cooldown-now", "--out", out)
    assert said.code == 2 and "stage 'one' of" in said.error and "not begun" in said.error
    assert call("train", recipe, "stages.0.budget={steps: 5}", "--out", out).code == 0
    before = newest(out)
    said = call("train", recipe, "--cooldown-now", "--out", out)
    assert said.code == 2 and "nothing to cool down" in said.error and newest(out) == before
    linear = write_tiny(tmp_path, TINY)
    other = shutil.copytree(prepared, tmp_path / "linear")
    stop_at(linear, other, monkeypatch, 4)
    said = call("train", linear, "--cooldown-now", "--out", other)
    assert said.code == 2
    assert "stage 'one' " in said.error and "schedule linear_to_zero" in said.error
    assert not cooldown_request(RunFolder(other)).exists()


def plan_of(phases):
    made, start = [], 0
    for index, (num_steps, rows, scale) in enumerate(phases):
        made.append(Phase(index, 8, rows, rows, start, num_steps, scale, None, {"made": 1.0}))
        start += num_steps
    return Plan(tuple(made))


PHASES = st.lists(
    st.tuples(st.integers(1, 300), st.integers(1, 9), st.sampled_from([0.5, 1.0, 2.0])),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=150)
@given(PHASES, st.data(), st.sampled_from(["steps", "tokens"]), st.floats(0.02, 0.9))
def test_a_cut_plan_is_the_longest_that_comes_down_from_here(phases, data, clock, share):
    plan = plan_of(phases)
    schedule = {
        "name": "wsd",
        "schedule_unit": clock,
        "warmup_fraction": 0.0,
        "decay_fraction": share,
    }
    optim = OptimSettings(peak_lr=1.0, schedule=schedule)
    done = data.draw(st.integers(0, plan.total_steps - 1))
    cooled = start_decay(plan, optim, done)
    assert done < cooled.total_steps <= plan.total_steps
    assert cooled == shorten(plan, cooled.total_steps)
    heights = [
        planned_lr(cooled, optim, step) / cooled.phase_at(step).lr_scale
        for step in range(cooled.total_steps)
    ]
    starts = start_of(plan, optim), start_of(cooled, optim)
    at = done if clock == "steps" else plan.tokens_after(done)
    for step in range(done):  # what is done is what was planned; tokens may fall into a step
        if clock == "steps" or plan.tokens_after(step + 1) <= starts[1]:
            assert planned_lr(plan, optim, step) == planned_lr(cooled, optim, step)
    if starts[1] <= at:  # else there is no room for a descent
        assert heights == sorted(heights, reverse=True)
        assert heights[-1] < 1.0 or cooled.total_steps == 1  # the first step has the peak
        if cooled.total_steps < plan.total_steps:
            longer = shorten(plan, cooled.total_steps + 1)
            assert start_of(longer, optim) > at
    else:
        assert cooled.total_steps == done + 1


def start_of(plan, optim):
    schedule = optim.schedule
    total = plan.total_steps if schedule.clock == "steps" else plan.total_tokens
    return descent_start(schedule, warmup_length(schedule, total), total)


def test_a_plan_that_comes_down_already_stays():
    plan = plan_of([(100, 4, 1.0)])
    optim = OptimSettings(peak_lr=1.0, schedule={"name": "wsd", "decay_fraction": 0.2})
    assert start_decay(plan, optim, 85) == plan
    assert start_decay(plan, optim, 40).total_steps == 50


def test_a_fixed_warm_up_is_known():
    plan = plan_of([(100, 4, 1.0)])
    for schedule, last, total in (({"warmup_steps": 7}, 7, 9), ({"warmup_tokens": 224}, 7, 8)):
        optim = OptimSettings(peak_lr=1.0, schedule={"name": "wsd", **schedule})
        rising = [is_warming_up(plan, optim, done) for done in range(20)]
        assert rising == [done < last for done in range(20)]
        cooled = start_decay(plan, optim, last)
        assert cooled.total_steps == total  # of which a fifth at most comes down
        rates = [planned_lr(cooled, optim, step) for step in range(total)]
        assert rates[last - 1] == 1.0 > rates[last] >= rates[-1]
