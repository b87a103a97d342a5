"""Run a benchmark as a person does, on a tiny shape."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark_results(tmp_path):
    """Return a function that runs a script and returns what it wrote to its file of results."""

    def run(script, *arguments):
        command = [sys.executable, BENCHMARKS / script, "--threads", "1", "--out", tmp_path]
        done = subprocess.run([*map(str, command), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (path,) = tmp_path.glob("*.json")
        return json.loads(path.read_text())

    return run
