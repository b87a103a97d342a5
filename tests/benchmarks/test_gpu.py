"""The parts of `make gpu`, tried on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


SLOW = [pytest.param(part, marks=pytest.mark.slow) for part in (2, 3, 4)]


@pytest.mark.parametrize("part", [1, *SLOW])
def test_a_dry_run_of_each_part(part, tmp_path):
    script = [sys.executable, str(ROOT / "benchmarks" / "gpu.py")]
    command = [*script, "--part", str(part), "--dry-run", "--out", str(tmp_path)]
    paths = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'benchmarks'}"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | paths)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob(f"*gpu-part-{part}-dry-run.json")
    summary = json.loads(path.read_text())
    assert all(command["exit_code"] == 0 for command in summary["commands"])
