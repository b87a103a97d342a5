"""Two processes with the whole model each, against one."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.distributed as dist

from train.parallel.runs import (
    CHANGING,
    UNEVEN,
    Run,
    assert_close,
    continued,
    in_time,
    last_of,
    make_trainer,
    train,
)
from yxanul.base.errors import YxanulError
from yxanul.train.memory import fits
from yxanul.train.parallel.world import World

RUNS = {
    "ragged": Run(ignored=2),
    "uneven": Run(phases=UNEVEN, ignored=2),
    "clip": Run(phases=({"clip": 0.5},)),
    "phases": Run(phases=CHANGING, ema=True),
    "muon": Run(optimizer="muon"),
    "lion": Run(optimizer="lion"),
    "adafactor": Run(optimizer="adafactor"),
    "checkpointing": Run(checkpoint_every=1),
    "not finite": Run(bad_step=4),
}


QUICK = ("uneven", "phases", "muon", "checkpointing", "not finite")


@pytest.mark.parametrize("name", in_time(RUNS, QUICK))
def test_two_train_as_one_does(pair, name):
    wanted = train(World(), RUNS[name])
    first, second = pair.run(train, RUNS[name])
    assert_close(first, wanted)
    assert_close(second, first, tolerance=0)
    assert first.applied.count(False) == (name == "not finite")


@pytest.mark.parametrize("precision", in_time(["bf16", "fp16", "fp8"], ["fp16", "fp8"]))
def test_gradients_of_narrow_models_are_summed_in_fp32(pair, precision):
    """Each micro-batch is the same to the bit in any process; only fp32 sums differ in order."""
    if precision == "fp8":
        pytest.importorskip("torchao.float8")
    run = Run(precision=precision, phases=({"num_steps": 6, "rows": 12},), bad_step=3)
    wanted = train(World(), run)
    first, second = pair.run(train, run)
    assert first.norms[0] == pytest.approx(wanted.norms[0], rel=1e-6)
    assert_close(first, wanted, tolerance=2e-3)
    assert_close(second, first, tolerance=0)


def test_sophia_sees_one_curvature(pair):
    """Each process draws its own targets, so that it is not that of one process."""
    first, second = pair.run(train, Run(optimizer="sophia"))
    assert_close(second, first, tolerance=0)
    assert all(np.isfinite(first.losses)) and all(first.applied)
    assert all(
        found.any() for key, found in first.optimizer_state.items() if key.startswith("curv")
    )


@pytest.mark.parametrize("precision", in_time(["fp32", "bf16"], ["bf16"]))
def test_a_step_is_summed_once_whatever_the_accumulation(pair, precision):
    """Of 1,000 and more elements: nothing but gradients is so large."""
    model = {"width": 64, "depth": 3}
    for micro_rows, num_micro_batches in ((4, 1), (1, 4)):
        phases = ({"num_steps": 4, "micro_rows": micro_rows},)
        run = Run(precision=precision, phases=phases, model=model)
        counts, num_weights = pair.run(count_sums, run)[0]
        assert [micro for micro, _, _ in counts] == [num_micro_batches] * 4
        assert [elements for _, elements, _ in counts] == [num_weights] * 4
        assert {dtype for _, _, dtypes in counts for dtype in dtypes} == {"torch.float32"}


def count_sums(world, run):
    """Return (micro-batches, elements summed, their dtypes) of each step."""
    trainer, counts, seen = make_trainer(world, run), [], []
    reduce_all, backward, begun = dist.all_reduce, trainer.engine.backward, []

    def watched(values, *args, **kwargs):
        if values.numel() > 1:
            seen.append(values)
        return reduce_all(values, *args, **kwargs)

    def counted(loss, last):
        begun.append(last)
        backward(loss, last)
        assert bool(seen) == last

    with (
        patch.object(dist, "all_reduce", watched),
        patch.object(trainer.engine, "backward", counted),
    ):
        for _ in range(run.phases[0]["num_steps"]):
            trainer.step()
            elements = sum(values.numel() for values in seen)
            counts.append((len(begun), elements, sorted({str(v.dtype) for v in seen})))
            seen.clear()
            begun.clear()
    return counts, sum(p.numel() for p in trainer.engine.mixed_precision.master_model.parameters())


@pytest.mark.parametrize("optimizer", in_time(["adamw", "muon"], ["adamw"]))
def test_a_run_goes_on_with_more_or_fewer_processes(pair, optimizer):
    run = Run(optimizer=optimizer, ema=True, phases=UNEVEN)
    straight, half = train(World(), run), replace(run, stop_after=5)
    from_one = pair.run(train, continued(run, train(World(), half)))[0]
    from_two = train(World(), continued(run, pair.run(train, half)[0]))
    for done in (from_one, from_two):
        assert len(done.losses) == 7
        assert_close(done, last_of(straight, 7))


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_compiled_layers(pair, checkpoint_every):
    run = Run(compile=True, checkpoint_every=checkpoint_every, phases=CHANGING)
    wanted = train(World(), replace(run, compile=False))
    first, second = pair.run(train, run)
    assert_close(first, wanted, tolerance=5e-5)
    assert_close(second, first, tolerance=0)


@pytest.mark.parametrize("precision", in_time(["fp32", "bf16"], ["fp32"]))
def test_a_trial_that_fails_in_one_process_leaves_nothing(pair, precision):
    """Neither a waiting process, nor a broken wrapper, nor a gradient."""
    run = Run(precision=precision)
    first, second = pair.run(after_a_trial, run)
    assert [first.pop("fitted"), second.pop("fitted")] == [True, False]
    (wanted, _) = pair.run(first_step, run)
    assert first == second == wanted


def after_a_trial(world, run):
    trainer = make_trainer(world, run)
    engine, phase = trainer.engine, replace(trainer.plan.phases[0], rows=16, micro_rows=2)
    with engine.probe() as alone:
        backward, calls = alone.backward, []

        def short(loss, last):
            calls.append(backward(loss, last))
            if world.rank == 1 and len(calls) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory")

        alone.backward = short
        fitted = fits(alone, phase, trainer.optim, world.size)
    return {"fitted": fitted} | first_step(world, run, trainer)


def first_step(world, run, trainer=None):
    report = (trainer or make_trainer(world, run)).step()
    return {"loss": report.loss, "norm": report.gradient_norm}


def test_out_of_memory_among_several_is_one_line_that_may_be_tried_again(pair):
    for line, again in pair.run(shortage, Run()):
        assert "try train.micro_batch_size=" in line and "\n" not in line and again


def shortage(world, run):
    trainer = make_trainer(world, run)

    def short(batch, last=True):
        raise torch.OutOfMemoryError("CUDA out of memory")

    trainer.engine.loss = short
    with pytest.raises(YxanulError) as error:
        trainer.step()
    return str(error.value), error.value.is_retryable
