"""A tiny run that any number of processes can do: what it is made of, and what came of it."""

import math
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import numpy as np
import pytest
import torch

import steps
from yxanul.base.interrupt import StopRequest
from yxanul.base.ui import SilentUi
from yxanul.data.mix import MixCursor
from yxanul.optim.config import EmaSettings, OptimSettings
from yxanul.train.config import TrainSettings
from yxanul.train.curriculum import Phase, Plan
from yxanul.train.engine import OptimizerState
from yxanul.train.hessian import HessianEstimator
from yxanul.train.parallel.strategies import EngineSpec, make_engine
from yxanul.train.progress import Progress
from yxanul.train.trainer import Trainer

PHASE = {
    "index": 0,
    "seq_len": 8,
    "rows": 8,
    "micro_rows": 2,
    "first_step": 0,
    "num_steps": 12,
    "lr_scale": 1.0,
    "clip": None,
    "mix": {"made": 1.0},
}
UNEVEN = (
    {"rows": 7, "micro_rows": 2, "num_steps": 6},
    {"rows": 1, "micro_rows": 1, "num_steps": 6},
)
"""Rows that neither processes nor micro-batches divide; and fewer rows than processes."""
CHANGING = ({"num_steps": 5}, {"seq_len": 16, "rows": 4, "num_steps": 7, "lr_scale": 0.5})


@dataclass
class Done:
    """What a run has come to, in arrays: they travel between processes."""

    losses: list
    norms: list
    applied: list
    weights: dict
    mean: dict
    mean_updates: int
    optimizer_state: dict
    plain: dict
    progress: dict


@dataclass(frozen=True)
class Run:
    """What a run is made of."""

    strategy: str = "ddp"
    deepspeed: str | None = None
    precision: str = "fp32"
    optimizer: str = "adamw"
    phases: tuple = ({},)
    ema: bool = False
    ignored: int = 0
    """So many targets, and more, of each row are not scored."""
    bad_step: int | None = None
    """In it, the last process computes gradients that are not finite."""
    compile: bool = False
    checkpoint_every: int | None = None
    begin_from: Done | None = None
    stop_after: int | None = None
    model: dict = field(default_factory=dict)
    seed: int = 1


def make_model(run):
    model = steps.make_model(run.seed, **run.model)
    if run.begin_from is not None:
        model.load_state_dict(tensors(run.begin_from.weights))
    return model


def loader_of(run):
    """Return a loader of rows from a random stream."""

    def ignored(start, length):
        return run.ignored + start // length % 5 if run.ignored else 0

    stream = np.random.default_rng(5).integers(0, steps.VOCAB, 100_000)
    return steps.StreamFeed(stream, ignored)


def optim_of(run):
    extra = {"sophia": {"hessian_steps": 3}}.get(run.optimizer, {})
    rate = {"adamw": 1e-2, "muon": 1e-2}.get(run.optimizer, 1e-3)
    schedule = {"name": "linear_to_zero", "warmup_steps": 2}
    return OptimSettings(name=run.optimizer, peak_lr=rate, schedule=schedule, **extra)


def make_trainer(world, run):
    optim = optim_of(run)
    settings = TrainSettings(strategy=run.strategy, deepspeed=run.deepspeed, compile=run.compile)
    mean = EmaSettings(decay=0.9) if run.ema else None
    engine = make_engine(
        EngineSpec(make_model(run), settings, run.precision, mean, world, SilentUi())
    )
    engine.mixed_precision.model.checkpoint_every = run.checkpoint_every
    begun, progress = run.begin_from, Progress("one", 0, 0, 0, MixCursor())
    if begun is not None:
        progress = Progress.from_dict(begun.progress)
        engine.load_ema(tensors(begun.mean), begun.mean_updates)
    engine.init_optimizer(
        optim, OptimizerState(tensors(begun.optimizer_state), begun.plain) if begun else None
    )
    phases, start = [], 0
    for index, changes in enumerate(run.phases):
        phase = Phase(**{**PHASE, "index": index, "first_step": start, **changes})
        phases.append(phase)
        start += phase.num_steps
    trainer = Trainer(
        engine=engine,
        loader=loader_of(run),
        plan=Plan(tuple(phases)),
        optim=optim,
        progress=progress,
        max_skipped_steps=3,
        ui=SilentUi(),
        stop=StopRequest(),
    )
    if run.optimizer == "sophia":
        trainer.hessian = HessianEstimator(engine.optimizer, engine, seed=3)
    return trainer


def train(world, run):
    """Do the run; return what it has come to."""
    with warnings.catch_warnings():
        if run.compile:
            warnings.simplefilter("ignore")  # of the compiler's own parts about each other
        return _train(world, run)


def _train(world, run):
    trainer, reports = make_trainer(world, run), []
    end = run.stop_after or trainer.plan.total_steps
    while trainer.progress.stage_step < end:
        bad = trainer.progress.stage_step == run.bad_step and world.rank == world.size - 1
        with spoiled(trainer.engine) if bad else nullcontext():
            reports.append(trainer.step())
    return outcome(trainer, reports)


def spoiled(engine):
    """Make the gradients of a process infinite, or no numbers at all."""
    backward = engine.backward
    return patch.object(engine, "backward", lambda loss, last: backward(loss * math.inf, last))


def outcome(trainer, reports):
    engine = trainer.engine
    files, optimizer_state = engine.weights(), engine.optimizer_state()
    return Done(
        [report.loss for report in reports],
        [report.gradient_norm for report in reports],
        [report.applied for report in reports],
        arrays(files["model"]),
        arrays(files.get("ema", {})),
        engine.ema.num_updates if engine.ema else 0,
        arrays(optimizer_state.tensors),
        dict(optimizer_state.plain),
        trainer.progress.to_dict(),
    )


def arrays(found):
    return {name: value.detach().cpu().numpy().copy() for name, value in found.items()}


def tensors(found):
    return {name: torch.from_numpy(value.copy()) for name, value in found.items()}


def in_time(names, quick):
    """Every name as a parameter: those that are not among the quick ones for the slow tests."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def assert_close(found, wanted, tolerance=1e-5):
    """The same curve, and the same of all that a checkpoint holds."""
    assert found.applied == wanted.applied
    np.testing.assert_allclose(found.losses, wanted.losses, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.norms, wanted.norms, rtol=0, atol=10 * tolerance)
    for name in ("weights", "mean", "optimizer_state"):
        ours, theirs = getattr(found, name), getattr(wanted, name)
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            np.testing.assert_allclose(ours[key], value, rtol=0, atol=tolerance, err_msg=key)
    assert found.mean_updates == wanted.mean_updates
    assert found.progress["cursor"] == wanted.progress["cursor"]


def continued(run, done):
    """Return the run that goes on from there."""
    return replace(run, begin_from=done, stop_after=None)


def last_of(done, count):
    """Return a run as if it had begun so many steps before its end."""
    lists = {name: getattr(done, name)[-count:] for name in ("losses", "norms", "applied")}
    return replace(done, **lists)
