"""A run that 0.1 began, stopped after step 18 of 24, is read and goes on."""

import json
import shutil
from pathlib import Path

import pytest

from running import call, step_of

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "run-0.1"
AT_END = {"math": 5.8662, "stories": 5.4102}
"""Bits per byte where 0.1 itself went on."""


@pytest.fixture
def run(tmp_path):
    return shutil.copytree(GOLDEN, tmp_path / "run")


def test_it_goes_on_to_its_end(run):
    said = call("train", run / "recipe.yaml", "--out", run, "--json")
    assert said.code == 0 and said.warnings == [], said.err
    assert step_of(run) == 24
    scores = json.loads(said.out)["held_out"]
    found = {domain: score["bits_per_byte"] for domain, score in scores.items()}
    assert found == pytest.approx(AT_END, abs=1e-3)


@pytest.mark.parametrize("verb", ["show", "eval", "data verify", "generate"])
def test_it_can_be_looked_at(run, verb):
    said = call(*verb.split(), run, *(["Once"] if verb == "generate" else []))
    assert said.code == 0, said.err
