"""Two processes with a part of each weight, against one."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch

from train.parallel.pair import Pair
from train.parallel.runs import (
    CHANGING,
    UNEVEN,
    Run,
    arrays,
    assert_close,
    continued,
    in_time,
    last_of,
    make_model,
    make_trainer,
    train,
)
from yxanul.base.errors import YxanulError
from yxanul.optim.table import divided_by
from yxanul.train.parallel.world import World

FSDP = Run(strategy="fsdp")
RUNS = {
    "ragged": replace(FSDP, ignored=2),
    "uneven": replace(FSDP, phases=UNEVEN, ignored=2),
    "clip": replace(FSDP, phases=({"clip": 0.5},)),
    "phases": replace(FSDP, phases=CHANGING, ema=True),
    "muon": replace(FSDP, optimizer="muon", ema=True),
    "lion": replace(FSDP, optimizer="lion"),
    "checkpointing": replace(FSDP, checkpoint_every=1),
    "tables": replace(FSDP, model={"embedding_rank": 16, "head": "folded"}, optimizer="muon"),
    "own head": replace(FSDP, model={"head": "untied"}),
    "not finite": replace(FSDP, bad_step=4),
}


def alone(run):
    return train(World(), replace(run, strategy="ddp"))


QUICK = ("uneven", "checkpointing", "tables", "not finite")


@pytest.mark.parametrize("name", in_time(RUNS, QUICK))
def test_two_train_as_one_does(pair, name):
    first, second = pair.run(train, RUNS[name])
    assert_close(first, alone(RUNS[name]))
    assert (first.applied, first.progress) == (second.applied, second.progress)
    np.testing.assert_array_equal(first.losses, second.losses)
    np.testing.assert_array_equal(first.norms, second.norms)
    assert first.applied.count(False) == (name == "not finite")
    assert not second.weights and not second.optimizer_state


@pytest.mark.parametrize("precision", in_time(["bf16", "fp16"], ["bf16"]))
def test_gradients_of_narrow_layers_are_summed_in_fp32(pair, precision):
    """Each micro-batch is the same to the bit in any process; only fp32 sums differ in order."""
    run = replace(FSDP, precision=precision, phases=({"num_steps": 6, "rows": 12},), bad_step=3)
    first, second = pair.run(train, run)
    wanted = alone(run)
    assert first.norms[0] == pytest.approx(wanted.norms[0], rel=1e-6)
    assert_close(first, wanted, tolerance=2e-3)
    np.testing.assert_array_equal(first.norms, second.norms)


def test_a_step_is_summed_once_whatever_the_accumulation(pair):
    for micro_rows, num_micro_batches in ((4, 1), (1, 4)):
        phases = ({"num_steps": 3, "micro_rows": micro_rows},)
        seen = pair.run(see_sums, replace(FSDP, phases=phases))[0]
        assert seen == ([False] * (num_micro_batches - 1) + [True]) * 3


def see_sums(world, run):
    """Return after which backward passes there were sums of gradients."""
    trainer, seen = make_trainer(world, run), []
    engine, collect = trainer.engine, trainer.engine.collect

    def look(last):
        seen.append(
            any(
                weight.grad is not None
                for weight in engine.mixed_precision.master_model.parameters()
            )
        )
        collect(last)

    with patch.object(engine, "collect", look):
        for _ in range(run.phases[0]["num_steps"]):
            trainer.step()
    return seen


@pytest.mark.parametrize("optimizer", in_time(divided_by("fsdp"), ["muon"]))
def test_a_run_goes_on_with_more_or_fewer_processes(pair, optimizer):
    run = replace(FSDP, optimizer=optimizer, ema=True, phases=UNEVEN)
    straight, half = alone(run), replace(run, stop_after=5)
    from_one = pair.run(train, continued(run, alone(half)))[0]
    from_two = alone(continued(run, pair.run(train, half)[0]))
    for done in (from_one, from_two):
        assert len(done.losses) == 7
        assert_close(done, last_of(straight, 7))


@pytest.mark.parametrize(("precision", "ema"), [("fp32", True), ("bf16", False)])
def test_whole_models_are_shown(pair, precision, ema):
    run = replace(FSDP, precision=precision, ema=ema)
    for shown, done in pair.run(look_inside, run):
        if done.weights:
            first = done
        wanted = first.mean or first.weights
        assert shown.keys() == wanted.keys()
        for name, value in wanted.items():
            cast = torch.from_numpy(value)
            if precision == "bf16":
                cast = cast.bfloat16().float()
            np.testing.assert_array_equal(shown[name], cast)


def look_inside(world, run):
    """Return the weights that are shown, and what all came to in the end."""
    trainer = make_trainer(world, run)
    trainer.step()
    batch = trainer.fetch(trainer.plan.phases[0])[0][0]
    with trainer.engine.eval_weights() as model:
        shown = arrays({name: value.float() for name, value in model.state_dict().items()})
        assert torch.isfinite(model.loss(batch.ids_BT, batch.targets_BT).total)
    return shown, train(world, replace(run, stop_after=1))


def test_the_mean_is_adopted(pair):
    means, weights = pair.run(adopt, replace(FSDP, ema=True))[0]
    assert weights.keys() == means.keys() and means
    for name, value in means.items():
        np.testing.assert_array_equal(weights[name], value)


def adopt(world, run):
    """Return the means of the weights, and what the weights are when they have been adopted."""
    trainer = make_trainer(world, run)
    for _ in range(3):
        trainer.step()
    means = arrays(trainer.engine.weights()["ema"])
    trainer.engine.load_ema_into_weights()
    return means, arrays(trainer.engine.weights()["model"])


def test_weights_are_loaded_again_for_a_rollback(pair):
    for run in (replace(FSDP, ema=True), replace(FSDP, strategy="ddp", precision="bf16")):
        assert pair.run(load_again, run)[0] is True


def load_again(world, run):
    """Train, load the weights of the start, and say whether the run then is as at its start."""
    start = {name: value.clone() for name, value in make_model(run).state_dict().items()}
    trainer = make_trainer(world, run)
    with trainer.engine.eval_weights() as model:
        before = [weight.detach().clone() for weight in model.parameters()]
    trainer.run()
    trainer.engine.load_weights(start)
    trainer.engine.load_ema(start, 0)
    with trainer.engine.eval_weights() as model:
        after = list(model.parameters())
    files = trainer.engine.weights()
    if world.is_main:
        assert all(torch.equal(files["model"][name], value) for name, value in start.items())
    return all(map(torch.equal, before, after))


def test_what_it_cannot_do_is_refused_in_one_line(pair):
    for line in pair.run(refusal, replace(FSDP, precision="fp8")):
        assert "fsdp " in line and " ddp" in line and "\n" not in line


def refusal(world, run):
    with pytest.raises(YxanulError) as error:
        make_trainer(world, run)
    return str(error.value)


@pytest.mark.slow
def test_three_with_rows_that_cannot_be_shared_evenly(tmp_path):
    three = Pair(tmp_path, 3)
    try:
        for optimizer in divided_by("fsdp"):
            run = replace(FSDP, optimizer=optimizer, ema=True, phases=UNEVEN, model={"width": 8})
            assert_close(three.run(train, run)[0], alone(run))
    finally:
        three.end()


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_compiled_layers(pair, checkpoint_every):
    run = replace(FSDP, compile=True, checkpoint_every=checkpoint_every, phases=CHANGING)
    assert_close(pair.run(train, run)[0], alone(replace(run, compile=False)), tolerance=5e-5)
