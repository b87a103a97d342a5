"""A run that earlier code began, stopped after step 18 of 24, is read and goes on."""

import json
import shutil
from pathlib import Path

import pytest

from recipes import write_tiny
from running import call, step_of
from yxanul.base.errors import YxanulError
from yxanul.recipe import load_recipe
from yxanul.stages.config import GateSettings, Rule

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "run"
AT_END = {"math": 5.8662, "stories": 5.4102}
"""Bits per byte where that code itself went on."""
RENAMED = """
    optim: peak_rate=peak_lr muon_rate=muon_lr role_scales=lr_scale_by_role clip=grad_clip
    optim: curvature_steps=hessian_steps curvature_scale=hessian_scale
    optim.schedule: floor_rate=min_lr floor_fraction=min_lr_fraction horizon=schedule_unit
    optim.lr_scale_by_role: table=embedding gain=norm
    stages.0.optim: peak_rate=peak_lr
    stages.0.optim.schedule: floor_rate=min_lr floor_fraction=min_lr_fraction horizon=schedule_unit
    stages.0.curriculum.0: rate_scale=lr_scale rows=device_batch_size clip=grad_clip
    stages.0.curriculum.0: accumulation=grad_accum_steps
    train: micro_batch=micro_batch_size max_bad_steps=max_skipped_steps
    data: train_early=overlap_prepare engine=executor
"""


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


def test_its_gates_are_rules_with_the_same_limits():
    one, two = (stage.gate for stage in load_recipe(str(GOLDEN / "recipe.yaml")).stages)
    assert one == GateSettings()
    assert two.all_rules() == (
        Rule(metric="val/math/bits_per_byte", at_most=9.0),
        Rule(metric="val/*/perplexity", against="start", at_most=1.0),
        Rule(metric="val/*/perplexity", against="best", at_most=9.0),
    )


def test_every_key_that_was_renamed_is_refused_with_its_new_name(tmp_path):
    recipe = str(write_tiny(tmp_path))
    for line in RENAMED.strip().splitlines():
        place, *pairs = line.split()
        for old, new in (pair.split("=") for pair in pairs):
            with pytest.raises(YxanulError) as caught:
                load_recipe(recipe, [f"{place.rstrip(':')}.{old}=1"])
            assert new in str(caught.value)


def test_a_source_may_have_the_name_of_a_section(tmp_path):
    text = write_tiny(tmp_path).read_text().replace("stories:", "gate:").replace("stories", "gate")
    recipe = tmp_path / "gates.yaml"
    recipe.write_text(text.replace("domain: gate", "domain: stories"))
    assert call("prepare", recipe, "--out", tmp_path / "run").code == 0
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")) == load_recipe(str(recipe))
