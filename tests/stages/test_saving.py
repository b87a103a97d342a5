"""Which checkpoints a run writes and keeps, and that writing them beside it changes nothing."""

import json

import pytest
import torch

from recipes import write_tiny
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.checkpoint.keep import read_best
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import read_checkpoint
from yxanul.recipe import load_recipe
from yxanul.stages.data import prepare
from yxanul.stages.resume import reconcile_recipe
from yxanul.stages.runner import run_stages
from yxanul.stages.session import build_session


def trained(folder, *overrides):
    """Run the tiny recipe (14 steps, phases of 7, then 10 steps); return the run."""
    recipe, run = load_recipe(str(write_tiny(folder)), list(overrides)), RunFolder(folder / "run")
    reconcile_recipe(run, recipe, SilentUi())
    prepare(run, recipe, SilentUi())
    session = build_session(run, recipe, SilentUi(), StopRequest())
    run_stages(session)
    session.close()
    return run


ALL = "train.checkpoint.keep=99"
NEVER = "train.checkpoint.every_steps=null"
NO_EVAL = "eval.every_steps=1000"  # then only the end of a stage is the best


def test_phase_ends_and_stage_ends_are_written(tmp_path):
    run = trained(tmp_path, ALL, NEVER, NO_EVAL)
    assert checkpoint_steps(run.checkpoints) == [7, 14, 24]


def test_phase_ends_may_be_left_out(tmp_path):
    run = trained(tmp_path, ALL, NEVER, NO_EVAL, "train.checkpoint.phase_ends=false")
    assert checkpoint_steps(run.checkpoints) == [14, 24]


def test_multiples_stay_for_good(tmp_path):
    keep = ["train.checkpoint.keep=1", "train.checkpoint.keep_every_steps=6"]
    run = trained(tmp_path, *keep, NEVER, NO_EVAL)
    assert checkpoint_steps(run.checkpoints) == [6, 12, 18, 24]


@pytest.mark.parametrize("metric", ["val/stories/perplexity", "val/loss"])
def test_the_best_is_judged_by_the_figure_that_is_asked_for(tmp_path, metric):
    run = trained(tmp_path, ALL, f"train.checkpoint.best={metric}", "eval.every_steps=2")
    best = read_best(run.path)
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    seen = {line["step"]: line[metric] for line in lines if metric in line and line["step"] > 14}
    step = min(seen, key=lambda one: seen[one])
    assert best is not None and (best.step, best.metric, best.value) == (step, metric, seen[step])
    assert best.step in checkpoint_steps(run.checkpoints)


def test_written_beside_the_training_or_not_is_the_same(tmp_path):
    folders = []
    for background in ("true", "false"):
        (tmp_path / background).mkdir()
        folders.append(trained(tmp_path / background, f"train.checkpoint.background={background}"))
    assert len({tuple(checkpoint_steps(run.checkpoints)) for run in folders}) == 1
    for step in checkpoint_steps(folders[0].checkpoints):
        (one, state), (other, other_state) = (
            read_checkpoint(checkpoint_path(run.checkpoints, step)) for run in folders
        )
        assert state == other_state
        for stem, tensors in one.items():
            assert all(torch.equal(value, other[stem][name]) for name, value in tensors.items())


def test_a_checkpoint_says_what_it_was_made_with(tmp_path):
    run = trained(tmp_path, "train.micro_batch_size=2")
    _, state = read_checkpoint(checkpoint_path(run.checkpoints, 24))
    assert (state["devices"], state["micro_rows"], state["loss_scale"]) == (1, {"0": 2}, None)
