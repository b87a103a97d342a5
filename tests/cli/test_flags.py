"""Flags of `train` and of `run`: each does what its help says, or is refused in one line."""

import json

import pytest

from running import call, files_of, ledger_of, stage_of

STEPS = 24


def test_resume_without_a_checkpoint_says_so(recipe, out):
    said = call("train", recipe, "--resume", "stages.0.budget={steps: 5}", "--out", out)
    assert said.code == 0
    assert "no checkpoint" in said.err
    said = call("train", recipe, "--resume", "stages.0.budget={steps: 5}", "--out", out)
    assert said.code == 0 and "no checkpoint yet" not in said.err


def test_stop_after_a_step_is_an_end_as_any(recipe, out):
    said = call("train", recipe, "--stop-after", 7, "--json", "--out", out)
    assert (said.code, json.loads(said.out)) == (0, {"run": str(out), "step": 7})
    again = call("train", recipe, "--stop-after", 5, "--json", "--out", out)
    assert again.code == 0 and json.loads(again.out)["step"] == 7
    assert "already at step 7" in again.err
    whole = call("train", recipe, "--stop-after", STEPS + 1, "--json", "--out", out)
    assert whole.code == 0 and json.loads(whole.out)["steps"] == STEPS
    assert "train one: 3,584/3,584 tokens" in whole.err  # all, not those since the resume


def test_eval_only_scores_and_trains_nothing(recipe, out):
    assert call("train", recipe, "--out", out).code == 0
    before = files_of(out)
    said = call("train", recipe, "--eval-only", "--json", "--out", out)
    assert said.code == 0
    facts = json.loads(said.out)
    assert facts["step"] == STEPS and set(facts["texts"]) == {"stories", "math"}
    at_end = stage_of(out, -1)["at_end"]
    for name, score in facts["texts"].items():
        assert facts["metrics"][f"val/{name}/loss"] == score["loss"]
        assert score["loss"] == pytest.approx(at_end[f"val/{name}/loss"], 1e-2)
    assert files_of(out) == before


def test_flags_that_contradict_each_other_are_refused(recipe, out):
    said = call("train", recipe, "--eval-only", "--stop-after", 3, "--out", out)
    assert said.code == 2 and "--eval-only can only be combined" in said.error


def test_disable_fp8_trains_in_bf16(recipe, out):
    settings = [
        "train.precision=fp8",
        "stages.0.budget={steps: 1}",
        "optim.schedule.warmup_steps=0",
    ]
    said = call("train", recipe, *settings, "--disable-fp8", "--out", out)
    assert said.code == 0, said.err
    assert ledger_of(out)["decisions"]["precision"] == "bf16"
    assert "fp8 is emulated" not in said.err


def test_one_process_says_that_it_divides_nothing(recipe, out):
    settings = ["stages.0.budget={steps: 3}", "--strategy", "fsdp"]
    said = call("train", recipe, *settings, "--out", out)
    assert said.code == 0
    assert any("strategy fsdp" in one for one in said.warnings)


def test_the_start_is_split(recipe, out):
    said = call("train", recipe, "--json", "--out", out)
    laps = json.loads(said.out)["start_seconds"]
    names = ["python", "recipe", "world", "tokenizer", "imports", "data", "model", "first step"]
    assert list(laps) == names
    assert all(seconds >= 0 for seconds in laps.values())
    (line,) = [one for one in said.err.splitlines() if "the first step" in one]
    assert float(line.split()[0]) == pytest.approx(sum(laps.values()), abs=0.06)
