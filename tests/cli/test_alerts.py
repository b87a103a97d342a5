"""Alerts on the command line: told, recorded, acted on, found again by doctor."""

import json
import shutil
from types import SimpleNamespace

import pytest

from running import alerts_of, assert_same_run, call, series, stage_of, step_of, steps_of
from yxanul.recipe import load_recipe
from yxanul.stages.session import Session
from yxanul.train.trainer import Trainer

SPIKES = "monitor.spikes={window_steps: 8}"
SPIKE_STEP = 12


@pytest.fixture
def train(recipe, prepared, tmp_path, monkeypatch):
    """A function that trains a run whose loss is fifty times as large at one step."""
    accumulate = Trainer.accumulate

    def spiked(trainer, batches, num_targets, watch):
        loss = accumulate(trainer, batches, num_targets, watch)
        return loss * (50.0 if trainer.progress.step + 1 == SPIKE_STEP else 1.0)

    monkeypatch.setattr(Trainer, "accumulate", spiked)

    def trained(*arguments, name="run"):
        if not (tmp_path / name).exists():
            shutil.copytree(prepared, tmp_path / name)
        return call("train", recipe, SPIKES, *arguments, "--out", tmp_path / name)

    return trained


def test_an_alert_is_told_and_recorded(train, tmp_path):
    said = train()
    assert said.code == 0
    (alert,) = alerts_of(tmp_path / "run")
    assert alert["name"] == "loss_spike" and alert["step"] == SPIKE_STEP
    (line,) = [one for one in said.warnings if "a loss of" in one]
    assert all(alert[key] in line for key in ("seen", "cause"))
    assert line.endswith(f"or `yxanul data show {tmp_path / 'run'} --step {SPIKE_STEP}`")
    assert "optim.peak_lr=0.005" in alert["advice"]
    assert series(tmp_path / "run", "optim/skipped_updates")[-1] == 0


def test_a_resumed_run_has_the_same_alerts(train, tmp_path):
    assert train(name="straight").code == 0
    for step in (5, SPIKE_STEP - 1, SPIKE_STEP, SPIKE_STEP + 3):
        assert train("--stop-after", step).code == 0
    assert train().code == 0
    assert alerts_of(tmp_path / "run") == alerts_of(tmp_path / "straight") != []


def test_stop_saves_and_ends_with_3_and_the_same_command_goes_on(train, tmp_path):
    out, stop = tmp_path / "run", "monitor.alerts.loss_spike=stop"
    said = train(stop)
    assert said.code == 3 and "step 12: loss_spike: a loss of" in said.error
    assert step_of(out) == steps_of(out)[-1] == SPIKE_STEP
    assert train(stop).code == 0
    assert len(alerts_of(out)) == 1


ROLLBACK = ("monitor.alerts.loss_spike=rollback", "train.checkpoint.every_steps=5")


def test_rollback_returns_to_the_checkpoint_before_and_goes_on(train, tmp_path, monkeypatch):
    out, before = tmp_path / "run", {}
    accumulate = Trainer.accumulate

    def spied(trainer, *arguments):
        weights = trainer.engine.weights()["model"]["embedding.tokens"]
        before[trainer.progress.step + 1] = weights.clone()
        return accumulate(trainer, *arguments)

    monkeypatch.setattr(Trainer, "accumulate", spied)
    said = train(*ROLLBACK)
    assert said.code == 0 and "loss_spike: returning to the weights of step 10" in said.err
    entry = stage_of(out)
    assert entry["rollbacks"] == [{"step": SPIKE_STEP, "from_step": 10, "alert": "loss_spike"}]
    assert before[SPIKE_STEP + 1].equal(before[11]) and not before[SPIKE_STEP].equal(before[11])
    assert steps_of(out) == sorted(set(steps_of(out)))
    assert step_of(out) == entry["first_step"] + 24


@pytest.mark.parametrize("stops", [(11, 12), pytest.param((10, 13), marks=pytest.mark.slow)])
def test_a_rollback_is_the_same_in_a_run_that_is_stopped_or_repeated(train, tmp_path, stops):
    assert train(*ROLLBACK, name="straight").code == 0
    for stop in stops:
        name = f"stopped-{stop}"
        assert train(*ROLLBACK, "--stop-after", stop, name=name).code == 0
        assert train(*ROLLBACK, name=name).code == 0
        assert_same_run(tmp_path / name, tmp_path / "straight")


def test_checkpoints_of_stops_do_not_push_out_the_one_to_return_to(train, tmp_path):
    keep = (*ROLLBACK, "train.checkpoint.keep=1")
    assert train(*keep, name="straight").code == 0
    assert train(*keep, "--stop-after", 11).code == 0
    assert train(*keep).code == 0
    assert_same_run(tmp_path / "run", tmp_path / "straight")


def test_the_best_checkpoint_is_one_that_was_saved(train, tmp_path):
    said = train(
        *ROLLBACK,
        f"eval.every_steps={SPIKE_STEP}",
        "stages.0.gate={rules: [{metric: val/*/loss, at_most: 1.0e-9}]}",
        "stages.0.on_fail={rollback: {}}",
    )
    assert said.code == 3, said.err
    best = json.loads((tmp_path / "run" / "best").read_text())["step"]
    assert best in steps_of(tmp_path / "run") and best != SPIKE_STEP


@pytest.mark.parametrize(("spike", "kept"), [(None, [40, 50]), (25, [20, 40, 50])])
def test_the_checkpoint_before_a_spike_is_kept_until_the_loss_has_returned(spike, kept):
    session = SimpleNamespace(rollback_steps=[], alerts=SimpleNamespace(spike_step=spike))
    session.recipe = load_recipe("quickstart", ["train.checkpoint.keep=2"])
    for step in (10, 20, 30, 40, 50):
        Session.add_rollback_step(session, step)
    assert session.rollback_steps == kept


def test_a_damaged_checkpoint_is_passed_over(train, tmp_path):
    assert train(*ROLLBACK, "--stop-after", 10).code == 0
    (tmp_path / "run" / "checkpoints" / "step-00000007" / "state.json").write_text("{")
    assert train(*ROLLBACK).code == 0
    assert stage_of(tmp_path / "run")["rollbacks"][0]["from_step"] == 10


def test_without_an_earlier_checkpoint_there_is_no_rollback(train, tmp_path):
    late = ("train.checkpoint={every_steps: 99, phase_ends: false}", "eval.every_steps=99")
    said = train(ROLLBACK[0], *late)
    assert said.code == 0 and any("no rollback" in line for line in said.warnings)
    assert stage_of(tmp_path / "run")["rollbacks"] == []


def test_off_says_nothing(train, tmp_path):
    said = train("monitor.alerts.loss_spike=off")
    assert said.code == 0 and not any("a loss of" in one for one in said.warnings)
    assert alerts_of(tmp_path / "run") == []


def test_doctor_finds_what_alerts_found_and_what_they_were_not_to_tell(train, tmp_path):
    out = tmp_path / "run"
    train("monitor.alerts={all: off}")
    found = json.loads(call("doctor", out, "--json").out)
    (alert,) = found["alerts"]
    assert alert["name"] == "loss_spike" and alert["step"] == SPIKE_STEP
    assert found["steps"] == step_of(out)
    text = call("doctor", out).out
    assert "1 alert in" in text and "warn: loss_spike, step 12" in text
    assert alert["seen"] in text and alert["advice"] in text
    with open(out / "metrics.jsonl", "a") as file:
        file.write('{"step": 999, "train/loss": null}\n{"torn')
    assert "not_finite, step 999" in call("doctor", out).out


def test_doctor_says_so_when_nothing_is_wrong(train, tmp_path):
    train("--stop-after", 9)
    assert "in 9 updates" in call("doctor", tmp_path / "run").out
    said = call("doctor", tmp_path)
    assert said.code == 2 and "has no metrics.jsonl" in said.error


def test_doctor_names_a_failed_gate(train, tmp_path):
    gate = "stages.0.gate={rules: [{metric: val/*/loss, at_most: 1.0e-9}]}"
    assert train(gate).code == 3
    said = call("doctor", tmp_path / "run").out
    assert "stage 'one' failed its gate: val/stories/loss" in said and "nothing" not in said
    found = json.loads(call("doctor", tmp_path / "run", "--json").out)
    assert list(found["failed_gates"]) == ["one"]


@pytest.mark.parametrize(
    ("override", "instead"),
    [
        ("train.skip_spikes={window_steps: 4}", "monitor.alerts.loss_spike"),
        ("monitor.alerts=false", "{all: off}"),
        ("monitor.alerts=true", "{}"),
        ("monitor.alerts.plateu=stop", "plateau"),
        ("monitor.alerts.plateau=skip", "stop"),
    ],
)
def test_other_forms_are_refused_with_the_right_one(train, override, instead):
    said = train(override)
    assert said.code == 2 and instead in said.err


def test_progress_has_phase_loss_speed_and_the_time_left_of_stage_and_run(train, monkeypatch):
    monkeypatch.setattr("yxanul.cli.output.SECONDS_BETWEEN_LINES", 0.0)
    lines = [one for one in train().err.splitlines() if one.startswith("train one: ")]
    assert len(lines) > 10
    for part in ("loss ", "phase 1/2", "/s, ", " left, ", "run 0:0", "step 3/14"):
        assert part in lines[2], part
    assert "phase 2/2" in lines[-1]
