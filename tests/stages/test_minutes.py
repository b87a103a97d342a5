"""Budgets in minutes: planned by the speed of their own steps, and the same run with its ledger."""

import itertools
import json
import os
import shutil
import signal

import pytest
import torch

from recipes import TINY
from running import assert_same_run, call, series, stage_of
from yxanul.base.run_folder import RunFolder
from yxanul.recipe import load_recipe
from yxanul.stages import measure, replan
from yxanul.stages.replay import locate_step
from yxanul.train.engine import Engine

RECIPE = (
    TINY.replace("budget: {steps: 14}", "budget: {minutes: 0.5}")
    .replace("every_steps: 4", "every_steps: 20")
    .replace("eval: {every_steps: 5", "eval: {every_steps: 500")
    .replace("width: 32, depth: 2", "width: 16, depth: 1")
)


class Clock:
    """Time passes by the step: `seconds_of(step)` each, whatever the machine does."""

    def __init__(self, monkeypatch, seconds_of):
        self.now, self.count = 0.0, itertools.count(1)
        self.hooks = {}
        apply = Engine.step

        def applied(engine):
            apply(engine)
            step = next(self.count)
            self.now += seconds_of(step)
            self.hooks.get(step, lambda: None)()

        monkeypatch.setattr(Engine, "step", applied)
        monkeypatch.setattr(replan, "perf_counter", lambda: self.now)


@pytest.fixture(scope="module", autouse=True)
def _wrong_guess():
    """Before the first step 400 steps are thought to fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yxanul.stages.runner.guess_tokens", lambda session, stage: 400 * 256)
        yield


@pytest.fixture(scope="module")
def steady(recipe, prepared, tmp_path_factory, _wrong_guess):
    """A run with steps of half a second, and the clock at its end."""
    out = shutil.copytree(prepared, tmp_path_factory.mktemp("steady") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yxanul.cli.output.SECONDS_BETWEEN_LINES", 0.0)
        clock = Clock(patch, lambda step: 0.5)
        said = call("train", recipe, "--out", out)
    assert said.code == 0
    return out, clock, said.err


def test_a_steady_stage_is_planned_once_and_ends_in_time(steady):
    out, clock, _ = steady
    entry = stage_of(out)
    ((step, _, seconds),) = entry["replans"]
    assert step == replan.FIRST_STEPS + 2  # the first step is not timed, but counts
    assert seconds == 0.5 * step
    # Steps of the second phase are expected to take longer, by their FLOPs.
    assert entry["steps"] == pytest.approx(60, rel=0.1)
    assert clock.now - 0.5 * 10 == pytest.approx(30, rel=0.1)  # the second stage has ten steps
    phases = series(out, "curriculum/phase")
    assert phases == sorted(phases[: entry["steps"]]) + phases[entry["steps"] :]
    assert phases[: entry["steps"]].count(0) == pytest.approx(30, abs=3)


def test_a_length_is_shown_when_it_is_measured(steady):
    out, _, err = steady
    entry, lines = stage_of(out), err.splitlines()
    known = next(n for n, line in enumerate(lines) if "0.5 minutes are" in line)
    assert "stage 'one': 0.5 minutes; " in err
    before, after = ("\n".join(part) for part in (lines[:known], lines[known:]))
    assert "102,400" not in before and ", step 3\n" in before and "left" not in before
    assert f"/{entry['tokens']:,} tokens" in after and f", step 6/{entry['steps']}\n" in after


def test_a_stage_that_becomes_slower_is_planned_anew(recipe, out, monkeypatch):
    clock = Clock(monkeypatch, lambda step: 1.0 if step <= 60 else 2.0)
    assert call("train", recipe, "stages.0.budget={minutes: 3}", "--out", out).code == 0
    entry = stage_of(out)
    assert [step for step, *_ in entry["replans"]] == sorted({s for s, *_ in entry["replans"]})
    assert len(entry["replans"]) in (2, 3)
    assert clock.now - 20 == pytest.approx(180, rel=0.1)
    # After the warm-up the rate only falls (the second phase has half of it).
    rates = series(out, "optim/learning_rate")[: entry["steps"]]
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[-1] < 0.05 * max(rates)


ONE_PHASE = "stages.0.curriculum=[{seq_len: 64}]"


@pytest.mark.parametrize(
    ("minutes", "later", "options"),
    [
        (60, 0.5, ()),
        (20, 1.4, (ONE_PHASE,)),
        pytest.param(20, 0.7, (ONE_PHASE,), marks=pytest.mark.slow),
    ],
)
def test_long_stages_and_stages_of_one_phase_end_in_time(
    recipe, out, monkeypatch, minutes, later, options
):
    usual = minutes * 60 / 80
    clock = Clock(monkeypatch, lambda step: usual if step <= 55 else later * usual)
    budget = f"stages.0.budget={{minutes: {minutes}}}"
    assert call("train", recipe, budget, *options, "--out", out).code == 0
    entry = stage_of(out)
    assert clock.now - 10 * later * usual == pytest.approx(60 * minutes, rel=0.1)
    assert len(entry["replans"]) <= 6


def test_stopped_or_replayed_with_its_ledger_it_is_the_same_run(
    recipe, prepared, steady, tmp_path, monkeypatch
):
    out, *_ = steady
    with monkeypatch.context() as patch:
        clock = Clock(patch, lambda step: 0.5)
        clock.hooks[9] = lambda: os.kill(os.getpid(), signal.SIGTERM)
        stopped = shutil.copytree(prepared, tmp_path / "stopped")
        assert call("train", recipe, "--out", stopped).code == 143
        assert call("train", recipe, "--out", stopped).code == 0
    assert_same_run(stopped, out)
    replayed = shutil.copytree(prepared, tmp_path / "replayed")
    shutil.copy(out / "ledger.json", replayed)
    with monkeypatch.context() as patch:
        Clock(patch, lambda step: 0.1)  # another machine
        assert call("train", recipe, "--out", replayed).code == 0
    assert_same_run(replayed, out)


def test_threads_are_chosen_again_and_a_repeated_run_takes_the_same(
    recipe, prepared, out, tmp_path, monkeypatch
):
    minutes, now, changes = "stages.0.budget={minutes: 3}", [4], []

    def use(count):
        changes.append((clock.now, now[0], count))
        now[0] = count

    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", use)
    monkeypatch.setattr(measure, "usual_num_threads", lambda: 4)
    monkeypatch.setattr(measure, "best_num_threads", lambda: 4)
    with monkeypatch.context() as patch:
        clock = Clock(patch, lambda step: 2.5)
        patch.setattr(replan, "best_num_threads", lambda: 2 if 80 < clock.now < 140 else 4)
        assert call("train", recipe, minutes, "--out", out).code == 0
    (fewer, all_again) = stage_of(out)["threads"]
    assert fewer[1] == 2 and 80 < 2.5 * fewer[0] <= 142.5  # looked at once a minute
    assert all_again[1] == 4 and 140 < 2.5 * all_again[0] <= 205
    taken, changes[:] = [change for change in changes if change[1] != change[2]], []
    replayed = shutil.copytree(prepared, tmp_path / "replayed")
    for name in ("ledger.json", "recipe.yaml"):
        shutil.copy(out / name, replayed)
    with monkeypatch.context() as patch:
        clock = Clock(patch, lambda step: 2.5)
        patch.setattr(replan, "best_num_threads", lambda: pytest.fail("measured"))
        assert call("train", recipe, minutes, "--out", replayed).code == 0
    assert [change for change in changes if change[1] != change[2]] == taken
    assert_same_run(replayed, out)


def test_threads_that_make_the_steps_slower_are_taken_back(recipe, out, monkeypatch):
    now = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: now.__setitem__(0, count))
    monkeypatch.setattr(measure, "usual_num_threads", lambda: 4)
    monkeypatch.setattr(measure, "best_num_threads", lambda: 4)
    monkeypatch.setattr(replan, "best_num_threads", lambda: 2)

    def seconds(_):
        return 2.5 if now[0] == 4 else 10.0

    clock = Clock(monkeypatch, seconds)
    assert call("train", recipe, "stages.0.budget={minutes: 3}", "--out", out).code == 0
    threads = stage_of(out)["threads"]
    tried, undone = threads[::2], threads[1::2]
    assert tried and [count for _, count in tried] == [2] * len(tried)
    assert undone == [[step + 1, 4] for step, _ in tried][: len(undone)]
    assert clock.now - 10 * seconds(None) == pytest.approx(180, rel=0.1)


def test_the_shape_of_any_step_is_found_again(recipe, steady):
    out, *_ = steady
    run, plain = RunFolder(out), load_recipe(str(recipe))
    lengths = series(out, "data/sequence_length")
    assert len(lengths) == stage_of(out)["steps"] + 10
    for step in (1, 5, 6, 29, 30, 31, 32, 33, len(lengths) - 10, len(lengths)):
        assert locate_step(run, plain, step).phase.seq_len == lengths[step - 1], step


FAILS = "stages.0.gate.rules=[{metric: val/*/loss, against: start, at_most: 1.0e-9}]"


@pytest.mark.parametrize(("budget", "steps"), [("{minutes: 1}", None), ("{steps: 75}", 75)])
def test_more_than_before_goes_on(recipe, out, monkeypatch, budget, steps):
    Clock(monkeypatch, lambda step: 0.5)
    assert call("train", recipe, FAILS, "--out", out).code == 3
    twice = pytest.approx(2 * stage_of(out)["steps"], rel=0.1)
    said = call("train", recipe, f"stages.0.budget={budget}", "--out", out)
    assert said.code == 0, said.err
    assert stage_of(out)["steps"] == (steps or twice)


@pytest.mark.parametrize(
    ("minutes", "seconds", "epochs", "steps"),
    [(0.5, 0.5, 20, 60), (0.5, 0.5, 1, None), (3, 2.0, 8, None)],
)
def test_max_epochs_bounds_minutes(recipe, tmp_path, monkeypatch, minutes, seconds, epochs, steps):
    """Neither the guess nor a machine that becomes faster ends a run for want of text."""
    clock = Clock(monkeypatch, lambda step: seconds if step * seconds <= 75 else seconds / 10)
    few = ("data.sources.stories.documents=20", f"data.sources.stories.max_epochs={epochs}")
    out, budget = tmp_path / "few", f"stages.0.budget={{minutes: {minutes}}}"
    said = call("run", recipe, budget, *few, "data.validation_fraction=0.2", "--out", out)
    assert said.code == 0, said.err
    text = json.loads((out / "data/stories/manifest.json").read_text())["splits"]["train"]["tokens"]
    entry = stage_of(out)
    assert entry["tokens"] <= epochs * text
    if steps:
        assert entry["steps"] == pytest.approx(steps, rel=0.1)
    else:
        assert entry["tokens"] > 0.9 * epochs * text and len(entry["replans"]) <= 3
    assert clock.now < 60 * minutes + 10


def test_repeats_are_told_of_minutes_that_were_measured(recipe, tmp_path, monkeypatch):
    """Not of the first guess, which here is nearly twice as much."""
    Clock(monkeypatch, lambda step: 0.5)
    few = ("data.sources.stories.documents=20", "data.validation_fraction=0.2")
    out = tmp_path / "few"
    said = call("run", recipe, "stages.0.budget={minutes: 2}", *few, "--out", out)
    assert said.code == 0, said.err
    line, _ = (line for line in said.warnings if "'stories' is read" in line)  # and of stage two
    text = json.loads((out / "data/stories/manifest.json").read_text())["splits"]["train"]["tokens"]
    times = float(line.partition("is read for ")[2].partition(" ")[0])
    assert times == pytest.approx(stage_of(out)["tokens"] / text, rel=0.1)
