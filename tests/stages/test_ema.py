"""A mean of the weights: judged, given away, and what the next stage begins from."""

import json

import pytest
import torch

from recipes import write_tiny
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.bundle import open_bundle
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import read_checkpoint
from yxanul.recipe import load_recipe
from yxanul.stages.callbacks import Scorer
from yxanul.stages.data import prepare
from yxanul.stages.resume import reconcile_recipe
from yxanul.stages.runner import run_stages
from yxanul.stages.session import build_session

STEPS_OF_ONE = 14
KEEP = ["train.checkpoint={every_steps: 1, keep: 99}"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    return load_recipe(str(write_tiny(folder)), ["optim.ema={decay: 0.9}", *KEEP])


def open_run(recipe, run):
    reconcile_recipe(run, recipe, SilentUi())
    prepare(run, recipe, SilentUi())
    return build_session(run, recipe, SilentUi(), StopRequest())


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("run"))
    session = open_run(recipe, run)
    run_stages(session)
    session.tracker.close()
    return run


def tensors_of(run, step):
    return read_checkpoint(checkpoint_path(run.checkpoints, step))[0]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_bundle_has_the_mean_unless_it_is_asked_for_the_weights(run):
    tensors = tensors_of(run, STEPS_OF_ONE)
    assert not same(tensors["ema"], tensors["model"])
    step = str(STEPS_OF_ONE)
    on_cpu = {"device": "cpu"}
    mean = open_bundle(run.path, step).model.to(**on_cpu).state_dict()
    weights = open_bundle(run.path, step, averaged=False).model.to(**on_cpu).state_dict()
    assert same(mean, tensors["ema"]) and same(weights, tensors["model"])


def test_the_mean_is_that_of_the_weights_of_each_step(run):
    mean = tensors_of(run, 1)["ema"]
    for step in range(2, STEPS_OF_ONE + 1):
        tensors, decay = tensors_of(run, step), min(0.9, (1 + step) / (10 + step))
        for name, weight in tensors["model"].items():
            mean[name] = decay * mean[name] + (1 - decay) * weight
            torch.testing.assert_close(tensors["ema"][name], mean[name], rtol=1e-4, atol=1e-6)


def test_the_gate_judges_the_mean(recipe, run):
    """The ledger's score at the end of stage one, and that of its domain, with no mean at all."""
    stage = json.loads(run.ledger.read_text())["stages"][0]
    session = open_run(recipe, run)
    session.engine.ema = None
    session.engine.mixed_precision.master_model.load_state_dict(
        tensors_of(run, STEPS_OF_ONE)["ema"]
    )
    score = Scorer(session, 0).score(["stories"])["stories"]
    session.tracker.close()
    assert stage["at_end"]["val/stories/loss"] == pytest.approx(score.loss, rel=1e-6)


def test_the_next_stage_begins_from_the_mean(recipe, run):
    session = open_run(recipe, run)
    tensors = tensors_of(run, STEPS_OF_ONE)
    session.engine.mixed_precision.master_model.load_state_dict(tensors["model"])
    session.engine.ema.load(tensors["ema"], STEPS_OF_ONE)
    session.start_stage("two")
    session.tracker.close()
    assert same(session.engine.mixed_precision.master_model.state_dict(), tensors["ema"])
    # The first step of stage two moves by at most about one rate from there: 1e-2, halved by the
    # warm-up of two steps.
    first = tensors_of(run, STEPS_OF_ONE + 1)["model"]
    moved = max(float((first[name] - tensors["ema"][name]).abs().max()) for name in first)
    from_weights = max(float((first[name] - tensors["model"][name]).abs().max()) for name in first)
    assert moved < 6e-3 < from_weights


def test_showing_the_mean_leaves_the_weights_as_they_are(recipe, run):
    session = open_run(recipe, run)
    session.tracker.close()
    before = {
        name: value.clone()
        for name, value in session.engine.mixed_precision.master_model.state_dict().items()
    }
    mean = {name: value.clone() for name, value in session.engine.ema.averages.items()}
    with session.engine.eval_weights():
        assert same(session.engine.mixed_precision.model.state_dict(), mean)
        assert not same(session.engine.mixed_precision.model.state_dict(), before)
    assert same(session.engine.mixed_precision.master_model.state_dict(), before)


def test_without_a_mean_nothing_of_it_is_kept(tmp_path):
    recipe = load_recipe(str(write_tiny(tmp_path)), ["stages.0.budget={steps: 4}"])
    run = RunFolder(tmp_path / "run")
    session = open_run(recipe, run)
    assert session.engine.ema is None
    run_stages(session)
    session.tracker.close()
    assert set(tensors_of(run, checkpoint_steps(run.checkpoints)[-1])) == {"model", "optimizer"}
