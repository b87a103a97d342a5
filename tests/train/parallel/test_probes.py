"""What two processes measure of their weights is what one measures of them all."""

from dataclasses import replace

import pytest

from train.parallel.runs import Run, make_trainer
from yxanul.monitor.config import Cadences
from yxanul.monitor.trackers.tracker import Histogram
from yxanul.train.parallel.world import World
from yxanul.train.probes import Probes
from yxanul.train.trainer import Callback

EVERY = Cadences(**dict.fromkeys(Cadences.model_fields, 1))
PHASES = ({"rows": 8, "micro_rows": 2, "clip": 0.01},)
MODEL = {"depth": 3, "vocab_size": 18, "head": "untied", "layer_pattern": "GL", "window": 3}


class Measured(Callback):
    def __init__(self):
        self.probes = Probes(EVERY)

    def before_update(self, trainer, batch):
        self.probes.before_update(trainer.engine, batch, trainer.progress.step + 1)


def measure(world, run, steps=3):
    """Train some steps; return what was measured at each, and the losses."""
    trainer, callback, found = make_trainer(world, run), Measured(), []
    trainer.callbacks = [callback]
    for _ in range(steps):
        report = trainer.step()
        metrics, histograms = callback.probes.after_update(trainer.engine, report.applied)
        found.append((report.loss, metrics | histograms))
    return found


def assert_close(found, wanted, name):
    if isinstance(wanted, Histogram):  # a value at an edge may fall on either side
        moved = sum(abs(a - b) for a, b in zip(found.counts, wanted.counts, strict=True))
        assert sum(found.counts) == sum(wanted.counts) and moved <= 0.01 * sum(wanted.counts), name
    else:
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-5), name


OF_A_MICRO_BATCH = (
    "train/",
    "histogram/confidence",
    "logits/",
    "activations/",
    "dead_neurons/",
    "attention_",
)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_measure_what_one_does(pair, strategy):
    run = Run(strategy, phases=PHASES, model=MODEL)
    alone = measure(World(), replace(run, strategy="auto"))
    first, second = pair.run(measure, run)
    for (loss, ours), (_, theirs), (wanted_loss, wanted) in zip(first, second, alone, strict=True):
        assert loss == pytest.approx(wanted_loss, rel=1e-5)
        assert ours.keys() == theirs.keys() == wanted.keys()
        for name, value in wanted.items():
            if not name.startswith(OF_A_MICRO_BATCH):  # each process has its own
                assert ours[name] == theirs[name]
                assert_close(ours[name], value, name)


def test_layers_that_are_gathered_measure_like_whole_ones(pair):
    """The same micro-batch in the first process of both."""
    run = Run("ddp", phases=PHASES, model=MODEL)
    whole, _ = pair.run(measure, run)
    gathered, _ = pair.run(measure, replace(run, strategy="fsdp"))
    for (_, ours), (_, wanted) in zip(gathered, whole, strict=True):
        for name in filter(lambda name: name.startswith(OF_A_MICRO_BATCH), wanted):
            assert_close(ours[name], wanted[name], name)
