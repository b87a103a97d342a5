"""Which checkpoints a run writes and keeps, and that writing them beside it changes nothing."""

import json

import pytest

from recipes import write_tiny
from sessions import assert_same_tensors, train
from yxanul.checkpoint.keep import read_best
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import read_checkpoint
from yxanul.recipe import load_recipe


def trained(folder, *overrides):
    """Run the tiny recipe (14 steps, phases of 7, then 10 steps); return the run."""
    return train(load_recipe(str(write_tiny(folder)), overrides), folder / "run").run


ALL = "train.checkpoint.keep=99"
NEVER = "train.checkpoint.every_steps=null"
NO_EVAL = "eval.every_steps=1000"  # then only the end of a stage is the best


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ([ALL], [7, 14, 24]),  # ends of phases and stages
        (["train.checkpoint={keep: 1, keep_every_steps: 6}"], [6, 12, 18, 24]),
    ],
)
def test_what_is_written_and_kept(tmp_path, settings, steps):
    run = trained(tmp_path, *settings, NEVER, NO_EVAL)
    assert checkpoint_steps(run.checkpoints) == steps


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
        assert_same_tensors(one, other)


def test_a_checkpoint_says_what_it_was_made_with(tmp_path):
    run = trained(tmp_path, "train.micro_batch_size=2")
    _, state = read_checkpoint(checkpoint_path(run.checkpoints, 24))
    assert (state["devices"], state["micro_rows"], state["loss_scale"]) == (1, {"0": 2}, None)
