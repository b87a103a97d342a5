"""Two processes under DeepSpeed's ZeRO, against one without it."""

import importlib.util
import json
import os
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from train.parallel.pair import Pair
from train.parallel.runs import (
    Run,
    assert_close,
    continued,
    make_model,
    make_trainer,
    optim_of,
    outcome,
    train,
)
from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.train.config import TrainSettings
from yxanul.train.engine import Engine
from yxanul.train.parallel.strategies import STRATEGIES, EngineSpec, make_engine
from yxanul.train.parallel.world import World

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed"
)

UNEVEN = (
    {"rows": 7, "micro_rows": 2, "num_steps": 5},
    {"rows": 1, "micro_rows": 1, "num_steps": 5},
)
CHANGING = (
    {"num_steps": 4, "clip": 0.5},
    {"seq_len": 16, "rows": 4, "num_steps": 4, "lr_scale": 0.5},
    {"rows": 12, "micro_rows": 2, "num_steps": 4, "clip": 0.2},
)
RUNS = {
    "plain": Run(),
    "uneven": Run(phases=UNEVEN, ignored=2),
    "phases": Run(phases=CHANGING),
    "lion": Run(optimizer="lion"),
    "ema": Run(ema=True),
    "checkpointing": Run(checkpoint_every=1),
    "not finite": Run(bad_step=4, phases=CHANGING, ema=True),
}
STAGES = (1, 2)


@pytest.fixture(scope="module")
def zero_pair(tmp_path_factory):
    """Two processes of their own: DeepSpeed changes what it is imported into."""
    two = Pair(tmp_path_factory.mktemp("zero-pair"))
    yield two
    two.end()


@pytest.fixture(scope="module")
def under_zero(tmp_path_factory):
    """A function that returns a run under DeepSpeed, with a configuration of its own."""

    def change(run, stage, **block):
        path = tmp_path_factory.mktemp("zero") / "ds.json"
        path.write_text(json.dumps({"zero_optimization": {"stage": stage, **block}}))
        return replace(run, strategy="deepspeed", deepspeed=str(path))

    return change


def finite(done):
    """Return a run with any norm that is not finite as nan: which kind it is depends on sums."""
    norms = [norm if np.isfinite(norm) else np.nan for norm in done.norms]
    return replace(done, norms=norms)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", RUNS)
def test_two_train_as_one_does(zero_pair, under_zero, name, stage):
    wanted = train(World(), RUNS[name])
    first, second = zero_pair.run(train, under_zero(RUNS[name], stage))
    assert_close(finite(first), finite(wanted))
    assert first.losses == second.losses
    assert first.applied.count(False) == (name == "not finite")
    assert (
        not second.optimizer_state and first.optimizer_state.keys() == wanted.optimizer_state.keys()
    )


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_bf16_is_what_ddp_computes(zero_pair, under_zero, stage):
    """The same micro-batches on each side: only the order of fp32 sums may differ."""
    run = Run(precision="bf16", phases=CHANGING[:2], ema=True, optimizer="lion")
    wanted, _ = zero_pair.run(train, run)
    first, _ = zero_pair.run(train, under_zero(run, stage))
    assert_close(first, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_goes_on_is_what_went_straight_on(zero_pair, under_zero, stage, precision):
    """To the bit: the master is not what bf16 weights give."""
    run = under_zero(Run(precision=precision, ema=True), stage)
    straight, _ = zero_pair.run(train, run)
    half, _ = zero_pair.run(train, replace(run, stop_after=5))
    rest, _ = zero_pair.run(train, continued(run, half))
    assert half.losses + rest.losses == straight.losses
    for name in ("weights", "mean", "optimizer_state"):
        ours, theirs = getattr(rest, name), getattr(straight, name)
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
    if precision == "bf16":
        kept = torch.from_numpy(half.weights["blocks.0.attention.qkv.weight"])
        assert not torch.equal(kept, kept.bfloat16().float())


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_goes_from_two_to_one_and_back(zero_pair, under_zero, stage):
    alone = Run(ema=True, phases=CHANGING)
    run, straight = under_zero(alone, stage), train(World(), alone)
    for first, then in ((run, alone), (alone, run)):
        half = _done(zero_pair, replace(first, stop_after=6))
        rest = _done(zero_pair, continued(then, half))
        whole = replace(rest, losses=half.losses + rest.losses, norms=half.norms + rest.norms)
        assert_close(replace(whole, applied=straight.applied), straight)


def _done(pair, run):
    """Do a run in as many processes as its strategy is about."""
    return pair.run(train, run)[0] if run.strategy == "deepspeed" else train(World(), run)


def two_stages(world, run):
    """Train, go on from the mean in a second stage with a fresh optimizer, look at everything."""
    trainer = make_trainer(world, run)
    engine, reports = trainer.engine, [trainer.step() for _ in range(5)]
    before = engine.weights()["model"]
    with engine.eval_weights() as model:
        mean = {name: value.clone() for name, value in model.state_dict().items()}
    if world.is_main:
        wanted = engine.ema.averages if world.size == 1 else None
        assert wanted is None or all(torch.equal(mean[name], wanted[name]) for name in wanted)
        assert any(not torch.equal(mean[name], before[name].to(mean[name])) for name in mean)
    after = engine.weights()["model"]
    assert all(torch.equal(before[name], after[name]) for name in before) or not world.is_main
    engine.load_ema_into_weights()
    engine.init_optimizer(optim_of(run))
    reports += [trainer.step() for _ in range(5)]
    return outcome(trainer, reports)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_second_stage_begins_from_the_mean(zero_pair, under_zero, stage):
    run = Run(ema=True, checkpoint_every=1)
    wanted = two_stages(World(), run)
    first, _ = zero_pair.run(two_stages, under_zero(run, stage))
    assert_close(first, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_second_stage_in_bf16_has_the_same_master(zero_pair, under_zero, stage):
    run = Run(ema=True, precision="bf16", optimizer="lion")
    wanted, _ = zero_pair.run(two_stages, run)
    first, _ = zero_pair.run(two_stages, under_zero(run, stage))
    assert_close(first, wanted)


def with_a_step_thrown_away(world, run):
    """Train; gradients that are finite are thrown away, as for an outlier."""
    trainer, reports = make_trainer(world, run), []
    engine = trainer.engine
    for number in range(6):
        if number == 3:
            batches, _ = trainer.fetch(trainer.plan.phases[0])
            for at, batch in enumerate(batches):
                last = at == len(batches) - 1
                loss, _ = engine.loss(batch, last)
                engine.backward(loss, last)
            assert engine.clip(None) > 1
            engine.zero_grad()
        reports.append(trainer.step())
    return outcome(trainer, reports)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_stays_of_a_step_that_is_thrown_away(zero_pair, under_zero, stage, precision):
    run = under_zero(Run(precision=precision, stop_after=6), stage)
    wanted, _ = zero_pair.run(train, run)
    first, _ = zero_pair.run(with_a_step_thrown_away, run)
    assert_close(first, wanted, tolerance=0)


@pytest.mark.slow
def test_offloading_is_deepspeed_s_and_changes_nothing(zero_pair, under_zero):
    run = Run(bad_step=4, phases=CHANGING, ema=True)
    wanted = train(World(), run)
    offload = {"offload_optimizer": {"device": "cpu"}, "overlap_comm": True}
    for stage in STAGES:
        first, _ = zero_pair.run(train, under_zero(run, stage, **offload))
        assert_close(finite(first), finite(wanted))


def memory(world, run):
    """Return how many numbers of fp32 weights and state this process holds, and in all."""
    trainer = make_trainer(world, run)
    trainer.step()
    states = trainer.engine.optimizer.state.items()
    weights = sum(weight.numel() for weight, _ in states)
    optimizer_state = sum(
        value.numel() for _, state in states for value in state.values() if value.ndim
    )
    master = sum(
        weight.numel() for weight in trainer.engine.mixed_precision.master_model.parameters()
    )
    return (
        weights,
        optimizer_state,
        master,
        sum(w.numel() for w in trainer.engine.mixed_precision.model.parameters()),
    )


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_each_process_holds_half(zero_pair, under_zero, stage):
    for found in zero_pair.run(memory, under_zero(Run(precision="bf16"), stage)):
        weights, optimizer_state, master, model = found
        assert weights == pytest.approx(model / 2, abs=20)
        assert optimizer_state == 2 * weights and master == 0


def what_it_says(world, run):
    """Return all that a run writes to the terminal, and what it raises."""
    error = ""
    with tempfile.TemporaryFile("w+") as file:
        kept = [os.dup(number) for number in (1, 2)]
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            train(world, run)
        except YxanulError as raised:
            error = str(raised)
        finally:
            sys.stdout.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
        file.seek(0)
        return file.read(), error


@pytest.mark.slow
def test_deepspeed_is_silent(zero_pair, under_zero):
    run = under_zero(Run(optimizer="lion", phases=({"num_steps": 3},)), 2)
    assert zero_pair.run(what_it_says, run) == [("", "")] * 2


@pytest.mark.slow
def test_what_deepspeed_does_not_accept_is_one_line(zero_pair, under_zero):
    for _, error in zero_pair.run(what_it_says, under_zero(Run(), 1, no_such_key=3)):
        assert error.startswith("DeepSpeed rejected")
        assert "no_such_key" in error and "\n" not in error


def spec(world, precision="fp32", **settings):
    settings = TrainSettings(strategy="deepspeed", **settings)
    return EngineSpec(make_model(Run()), settings, precision, None, world, SilentUi())


def test_a_stage_that_divides_nothing_is_ddp(pair, under_zero):
    path = under_zero(Run(), 0).deepspeed
    assert pair.run(_kind, path) == ["DdpEngine"] * 2


def _kind(world, path):
    return type(make_engine(spec(world, deepspeed=path))).__name__


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(YxanulError, match=r"'yxanul\[deepspeed\]'"):
        STRATEGIES["deepspeed"](spec(World(0, 2)))


def test_a_precision_found_by_auto_is_refused_too():
    with pytest.raises(YxanulError, match=r"deepspeed .*fp16"):
        STRATEGIES["deepspeed"](spec(World(0, 2), "fp16"))


def test_one_process_trains_without():
    assert type(make_engine(spec(World()))) is Engine
