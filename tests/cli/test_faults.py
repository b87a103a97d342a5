"""What may go wrong around a run: after each fault what was promised holds, and a line says it."""

import fcntl
import itertools
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from recipes import TINY
from running import (
    after_step,
    assert_all_finite,
    assert_same_run,
    call,
    files_of,
    flip_a_bit,
    in_own_mounts,
    lines_of,
    metrics_of,
    newest,
    series,
    start,
    step_of,
    steps_of,
)
from yxanul.checkpoint.read import verify_checkpoint
from yxanul.train.engine import Engine
from yxanul.train.trainer import Trainer

RECIPE = TINY.replace("every_steps: 4, keep: 2", "every_steps: 3, keep: 2")
STEPS = 24


@pytest.fixture
def train(recipe, out):
    """A function that trains the prepared folder."""
    return lambda *overrides: call("train", recipe, *overrides, "--out", out)


def spoil(monkeypatch, step_is_bad, factor):
    """Multiply the loss that goes backwards at some steps of the run (the dry run has none)."""
    backward, gradients, at = Engine.backward, Trainer.gradients, []

    def noted(trainer, watch):
        at[:] = [trainer.progress.step + 1]
        try:
            return gradients(trainer, watch)
        finally:
            at.clear()

    def spoiled(engine, loss, last):
        backward(engine, loss * factor if at and step_is_bad(at[0]) else loss, last)

    monkeypatch.setattr(Trainer, "gradients", noted)
    monkeypatch.setattr(Engine, "backward", spoiled)


def stopped(train, out, monkeypatch, step=11):
    """Train so many steps and stop as by a signal."""
    with monkeypatch.context() as patch:
        after_step(patch, step, lambda engine: os.kill(os.getpid(), signal.SIGTERM))
        assert train().code == 143
    assert step_of(out) == step == steps_of(out)[-1]


# Disks


def test_no_space_for_a_checkpoint(train, out, straight, monkeypatch):
    """A limit of the system on the size of a file stands for a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with monkeypatch.context() as patch:
            limit = (20_000, before[1])
            after_step(patch, 8, lambda engine: resource.setrlimit(resource.RLIMIT_FSIZE, limit))
            said = train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert said.code == 2
    assert "File too large" in said.error
    assert "free some space" in said.error
    assert 2 <= len(steps_of(out)) <= 3  # that of 7 may have been on its way
    for step in steps_of(out):
        verify_checkpoint(out / "checkpoints" / f"step-{step:08}")
    assert {path.name[0] for path in (out / "checkpoints").iterdir()} == {"s"}
    assert train().code == 0
    assert_same_run(out, straight)


FULL_DISK = """
set -e
mount -t tmpfs -o size=3m none "$1"
cp -r "$2/." "$1/run"
free=$(df --output=avail -k "$1" | tail -1)
head -c "$(( (free - 550) * 1024 ))" /dev/zero > "$1/ballast"
set +e
"$4" -m yxanul train "$3" --out "$1/run" ; echo "code $?"
rm "$1/ballast"
"$4" -m yxanul train "$3" --out "$1/run" ; echo "code $?"
rm -r "$1/run/data"
cp -r "$1/run" "$5"
mount -o remount,ro "$1"
"$4" -m yxanul train "$3" --out "$1/run" ; echo "code $?"
"$4" -m yxanul run "$3" --out "$1/other" ; echo "code $?"
"""


@pytest.mark.slow
def test_a_real_disk_that_is_full_and_then_read_only(recipe, prepared, straight, tmp_path):
    (tmp_path / "disk").mkdir()
    given = [tmp_path / "disk", prepared, recipe, sys.executable, tmp_path / "kept"]
    command = [*in_own_mounts(), "bash", "-c", FULL_DISK, "bash", *map(str, given)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=240)
    lines = [line for line in said.stdout.splitlines() if line.startswith("code")]
    assert lines == ["code 2", "code 0", "code 2", "code 2"], said.stderr + said.stdout
    full, in_run, other = (line for line in said.stderr.splitlines() if line.startswith("yxanul: "))
    assert "No space left on device" in full
    assert "Read-only file system" in in_run and "Read-only file system" in other
    assert_same_run(tmp_path / "kept", straight)


def test_a_folder_that_another_process_holds(train, out):
    with open(out / ".lock", "w") as file:
        file.write("12345")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        before = files_of(out)
        said = train()
        assert said.code == 2
        assert "process 12345" in said.error
        assert files_of(out) == before
    assert train("stages.0.budget={steps: 14}").code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_that_may_not_be_written(train, out):
    before = files_of(out)
    for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    (out / ".lock").chmod(0o444)
    said = train()
    assert said.code == 2 and "Permission denied" in said.error
    for folder in (out, *(path for path in out.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    assert files_of(out) == before


@pytest.mark.slow
def test_a_process_that_is_killed_frees_the_folder(recipe, out, straight, tmp_path):
    program = start(tmp_path / "log.txt", "train", recipe, "--out", out)
    program.until(lambda: step_of(out) > 1)
    assert "in use" in call("train", recipe, "--out", out).error
    program.kill()
    assert call("train", recipe, "--out", out).code == 0
    assert_same_run(out, straight)


# Checkpoints


def truncate(checkpoint):
    file = checkpoint / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    return file.name


def spoil_weights(checkpoint):
    flip_a_bit(checkpoint / "model.safetensors")
    return "model.safetensors"


def lose_the_manifest(checkpoint):
    (checkpoint / "manifest.json").unlink()
    return "manifest.json"


def break_the_state(checkpoint):
    (checkpoint / "state.json").write_text('{"progress": {"step"')
    return "state.json"


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        *(
            pytest.param(damage, marks=pytest.mark.slow)
            for damage in (spoil_weights, lose_the_manifest, break_the_state)
        ),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_goes_on(
    train, out, straight, monkeypatch, damage
):
    stopped(train, out, monkeypatch)
    name = damage(newest(out))
    said = train()
    assert said.code == 0
    (line,) = [one for one in said.warnings if "checkpoint" in one]
    assert "step-00000011 is damaged" in line and name in line
    assert "previous checkpoint" in line
    assert "resuming from step-00000010" in said.err
    assert_same_run(out, straight)


def test_half_renamed_and_left_over_folders_do_no_harm(train, out, straight, monkeypatch):
    stopped(train, out, monkeypatch)
    last = newest(out)
    shutil.copytree(last, last.with_name(".step-00000012.77.partial"))
    last.rename(last.with_name(f".{last.name}.77.partial"))
    for killed in (
        out / ".ledger.json.77.partial",
        out / "samples" / ".step-00000010.txt.77.partial",
    ):
        killed.touch()
    said = train()
    assert said.code == 0 and "resuming from step-00000010" in said.err
    assert_same_run(out, straight)
    assert not list(out.rglob("*.partial"))


def test_without_any_whole_checkpoint_it_says_so_and_changes_nothing(train, out, monkeypatch):
    stopped(train, out, monkeypatch)
    for step in steps_of(out):
        truncate(out / "checkpoints" / f"step-{step:08}")
    before = files_of(out)
    said = train()
    assert said.code == 2 and "no checkpoint in" in said.error and "is intact" in said.error
    assert len(said.warnings) == len(steps_of(out))
    after = files_of(out)
    assert {path for path in before if before[path] != after.get(path)} <= {".lock"}


def test_checkpoints_without_their_ledger_are_not_trained_again(train, out, monkeypatch):
    stopped(train, out, monkeypatch)
    (out / "ledger.json").unlink()
    before = files_of(out)
    said = train()
    assert said.code == 2 and "ledger.json is missing" in said.error
    after = files_of(out)
    assert {path for path in before if before[path] != after.get(path)} <= {".lock"}
    shutil.rmtree(out / "checkpoints")  # what the message says
    assert train().code == 0


# What is not finite


def test_a_gradient_that_is_no_number_costs_one_step(train, out, monkeypatch):
    """Planted in one micro-batch's effect: that update is skipped, and counted."""
    spoil(monkeypatch, lambda step: step == 7, math.nan)
    said = train()
    assert said.code == 0
    (line,) = [one for one in said.warnings if "update was skipped" in one]
    assert "step 7" in line
    lines = [one for one in metrics_of(out) if "train/loss" in one]
    assert [one["step"] for one in lines] == list(range(1, STEPS + 1))
    assert lines[6]["optim/gradient_norm"] is None
    assert lines[6]["optim/skipped_updates"] == lines[-1]["optim/skipped_updates"] == 1
    assert_all_finite(out)


def test_gradients_that_stay_no_numbers_end_the_run(train, out, straight, monkeypatch):
    with monkeypatch.context() as patch:
        spoil(patch, lambda step: step > 7, math.inf)
        said = train("train.max_skipped_steps=4")
    assert said.code == 2
    assert "4 consecutive updates" in said.error
    assert step_of(out) == 11
    assert_all_finite(out)
    assert train("train.max_skipped_steps=4").code == 0  # what is on the disk can go on


@pytest.mark.parametrize("background", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_weight_that_is_no_number_reaches_no_checkpoint(
    train, out, straight, monkeypatch, background
):
    def spec(engine):
        with torch.no_grad():
            next(iter(engine.mixed_precision.master_model.parameters())).view(-1)[5] = math.nan

    with monkeypatch.context() as patch:
        after_step(patch, 7, spec)
        said = train(f"train.checkpoint.background={background}")
    assert said.code == 2
    assert "not finite" in said.error and "go" in said.error
    assert steps_of(out)[-1] <= 7
    assert_all_finite(out)
    assert train().code == 0
    assert_same_run(out, straight)


def test_a_moment_that_is_no_number_reaches_no_checkpoint(train, out, straight, monkeypatch):
    def spec(engine):
        state = next(iter(engine.optimizer.state.values()))
        next(one for one in state.values() if one.numel() > 1).view(-1)[0] = math.inf

    with monkeypatch.context() as patch:
        after_step(patch, 9, spec)
        said = train()
    assert said.code == 2 and "not finite" in said.error
    assert "optimizer" in said.error or "model" in said.error
    assert_all_finite(out)
    assert train().code == 0
    assert_same_run(out, straight)


def test_a_signal_does_not_save_weights_that_are_no_numbers(train, out, straight, monkeypatch):
    def spec(engine):
        for weight in engine.mixed_precision.master_model.parameters():
            weight.data.fill_(math.nan)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        after_step(patch, 7, spec)
        said = train()
    assert said.code == 2 and "not finite" in said.error and "is saved" not in said.error
    assert_all_finite(out)
    assert train().code == 0
    assert_same_run(out, straight)


def spike(monkeypatch, steps):
    """Make the loss of some steps of the run fifty times as large."""
    accumulate = Trainer.accumulate

    def spiked(trainer, batches, num_targets, watch):
        loss = accumulate(trainer, batches, num_targets, watch)
        return loss * (50.0 if trainer.progress.step + 1 in steps else 1.0)

    monkeypatch.setattr(Trainer, "accumulate", spiked)


LONGER = ("stages.0.budget={steps: 60}", "eval.every_steps=1000")


def test_a_spike_of_the_loss_is_skipped_where_that_is_asked_for(train, out, monkeypatch):
    spike(monkeypatch, {20, 50})
    spikes = ("monitor.alerts.loss_spike=skip", "monitor.spikes={window_steps: 8}")
    assert train(*LONGER, *spikes).code == 0
    skipped = series(out, "optim/skipped_updates")
    assert skipped[19] == skipped[18] + 1 and skipped[49] == skipped[48] + 1


# Clocks


def test_a_clock_that_jumps_changes_nothing(train, out, straight, monkeypatch):
    """An hour back, an hour forth, with every look at it."""
    hours = itertools.cycle([0, -3600, 7200, -86400])
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + next(hours))
        said = train("train.checkpoint.every_minutes=30")
    assert said.code == 0
    assert_same_run(out, straight)
    for line in lines_of(out):
        timed = {k: v for k, v in line.items() if k.startswith("perf/") and v is not None}
        assert all(0 <= value < 1e12 for value in timed.values()), line
