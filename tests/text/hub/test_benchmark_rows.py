"""Rows of a test set on a hub: of every file of every configuration, and of other formats."""

import json
import os
import subprocess
import sys

SCRIPT = """
import json, sys
from yxanul.text import benchmarks
from yxanul.text.benchmark_rows import read_benchmark
from yxanul.text.config import HubSettings
for name, config in (("ann/tables", "*"), ("ann/packed", None), ("ann/commas", None)):
    benchmarks.BENCHMARKS["set"] = benchmarks.Benchmark(HubSettings(name=name, config=config))
    print(json.dumps(list(read_benchmark("set", None, dict))))
"""


def test_rows_are_read_whatever_the_format(hub, tmp_path):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    own = {"HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": hub.address}
    command = [sys.executable, "-c", SCRIPT]
    said = subprocess.run(command, env=inherited | own, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    tables, packed, commas = map(json.loads, said.stdout.splitlines())
    assert [row["n"] for row in tables] == [*range(500), 900, 901, 902]
    assert packed == [{"n": n, "text": f"story {n}"} for n in range(300)]
    assert commas[3] == {"n": 3, "text": "tale"} and len(commas) == 50
