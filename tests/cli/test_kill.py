"""Kill -9 at random moments: the finished run equals the undisturbed one."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time

import pytest

from recipes import TINY, write_tiny

LONGER = (
    TINY.replace("documents: 120", "documents: 3000")
    .replace("workers: 1", "workers: 2")
    .replace("steps: 14", "steps: 60")
    .replace("tokens: 2560", "tokens: 10240")
    .replace("kind: byte", "kind: bpe, vocab_size: 400")
)


def start(recipe, out):
    command = [sys.executable, "-m", "yxanul", "run", str(recipe), "--out", str(out)]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(recipe, out):
    process = start(recipe, out)
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def trained(out):
    """Return what has to be equal: the weights and every metric that is not a time."""
    weights = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (out / "checkpoints").glob("*/*.safetensors")
    }
    timed = ("perf/", "memory/")
    metrics = [
        {key: value for key, value in json.loads(line).items() if not key.startswith(timed)}
        for line in (out / "metrics.jsonl").read_text().splitlines()
    ]
    return weights, metrics, json.loads((out / "ledger.json").read_text())


@pytest.mark.slow
def test_kill_9_at_ten_random_moments(tmp_path):
    recipe = write_tiny(tmp_path, LONGER)
    began = time.monotonic()
    finish(recipe, tmp_path / "straight")
    duration = time.monotonic() - began
    moments = random.Random(5)
    for _ in range(10):
        process = start(recipe, tmp_path / "killed")
        time.sleep(moments.uniform(1.0, duration))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(recipe, tmp_path / "killed")
    assert trained(tmp_path / "killed") == trained(tmp_path / "straight")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_stops_with_its_code(tmp_path, number, code):
    text = TINY.replace("steps: 14", "steps: 100000")
    recipe, out = write_tiny(tmp_path, text), tmp_path / "run"
    process = start(recipe, out)
    metrics = out / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") > 6):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "the state is saved" in errors
    last_step = json.loads(metrics.read_text().splitlines()[-1])["step"]
    assert (out / "checkpoints" / f"step-{last_step:08}").is_dir()
