"""A tiny trainer over streams that a formula makes."""

import numpy as np
import pytest
import torch

from steps import VOCAB, StreamFeed, make_model
from yxanul.base.interrupt import StopRequest
from yxanul.base.ui import SilentUi
from yxanul.data.mix import MixCursor
from yxanul.optim.config import OptimSettings
from yxanul.train.curriculum import Phase, Plan
from yxanul.train.engine import Engine
from yxanul.train.mixed_precision.weights import MixedPrecision
from yxanul.train.progress import Progress
from yxanul.train.trainer import Callback, Trainer


@pytest.fixture
def random_stream():
    return np.random.default_rng(5).integers(0, VOCAB, 100_000)


@pytest.fixture
def counting_stream():
    return np.arange(100_000) % VOCAB


@pytest.fixture
def make_phase():
    """A function that makes a phase from what differs from the usual one."""

    def make(**fields):
        usual = {
            "index": 0,
            "seq_len": 8,
            "rows": 4,
            "micro_rows": 4,
            "first_step": 0,
            "num_steps": 5,
            "lr_scale": 1.0,
            "clip": None,
            "mix": {"made": 1.0},
        }
        return Phase(**{**usual, **fields})

    return make


class Reports(Callback):
    """Collects what the steps report."""

    def __init__(self, reports):
        self.reports = reports

    def after_step(self, trainer, report):
        self.reports.append(report)


@pytest.fixture
def make_trainer(random_stream, make_phase):
    """A function that makes a trainer of a tiny model; `reports` collects what it records."""

    def make(*phases, precision="fp32", loader=None, optim=None, **fields):
        optim = optim or OptimSettings(peak_lr=1e-2, schedule={"name": "constant"})
        reports = []
        engine = Engine(MixedPrecision(make_model(), precision))
        engine.init_optimizer(optim)
        usual = {
            "engine": engine,
            "loader": loader or StreamFeed(random_stream),
            "plan": Plan(phases or (make_phase(),)),
            "optim": optim,
            "progress": Progress("one", 0, 0, 0, MixCursor()),
            "max_skipped_steps": 3,
            "ui": SilentUi(),
            "stop": StopRequest(),
        }
        trainer = Trainer(**{**usual, **fields})
        trainer.callbacks = [Reports(reports), *trainer.callbacks]
        trainer.reports = reports
        return trainer

    return make


class SmallDevice(Engine):
    """An engine without memory for more than `most` tokens at once, which notes its calls."""

    def __init__(self, mixed_precision, most=10**9, ema=None):
        super().__init__(mixed_precision, ema=ema)
        self.most, self.log, self.on_loss = most, [], lambda: None

    def losses(self):
        return [call for call in self.log if call[0] == "loss"]

    def loss(self, batch, last=True):
        has_gradients = any(weight.grad is not None for weight in self.trained().values())
        self.log.append(("loss", tuple(batch.ids_BT.shape), has_gradients))
        self.on_loss()
        if batch.ids_BT.numel() > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return super().loss(batch, last)

    def backward(self, loss, last):
        self.log.append(("backward", last))
        super().backward(loss, last)

    def clip(self, max_norm):
        self.log.append(("clip", max_norm))
        return super().clip(max_norm)


@pytest.fixture
def make_engine():
    """A function that makes an engine of a tiny model on a device with little memory."""

    def make(precision="fp32", **fields):
        return SmallDevice(MixedPrecision(make_model(max_seq_len=64), precision), **fields)

    return make
