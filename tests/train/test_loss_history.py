import json
import math
from dataclasses import asdict

import pytest
import torch

from steps import change_gradients, weights_of
from yxanul.base.errors import YxanulError
from yxanul.data.mix import MixCursor
from yxanul.monitor.config import MonitorSettings, SpikeSettings
from yxanul.monitor.loss_history import LossHistory, limit
from yxanul.train.progress import Progress

SETTINGS = SpikeSettings(window_steps=8, deviations=6)


def filled(values, norms=None):
    history = LossHistory()
    for loss, norm in zip(values, norms or values, strict=True):
        history = history.after(0, loss, norm, SETTINGS)
    return history


def test_the_limit_is_mean_and_deviations_of_the_window():
    values = (1.0, 2.0, 3.0, 4.0)
    assert limit(values, SETTINGS) == pytest.approx(2.5 + 6 * math.sqrt(5 / 3))
    assert limit(values[:3], SETTINGS) == math.inf  # less than half a window


@pytest.mark.parametrize(("loss", "norm"), [(9.0, 1.0), (1.0, 9.0)])
def test_either_of_the_two_makes_a_spike(loss, norm):
    history = filled([1.0, 1.1, 0.9, 1.0, 1.05])
    assert history.is_spike(0, loss, norm, SETTINGS)
    assert not history.is_spike(0, 1.2, 1.2, SETTINGS)
    assert not history.is_spike(0, -9.0, -9.0, SETTINGS)  # far below is no harm
    assert not history.is_spike(1, loss, norm, SETTINGS)  # another phase has another level


def test_the_window_is_of_the_last_steps_of_one_phase():
    history = filled([float(i) for i in range(20)])
    assert history.losses == tuple(float(i) for i in range(12, 20))
    assert history.after(0, math.nan, 1.0, SETTINGS) == history
    assert history.after(3, 5.0, 6.0, SETTINGS) == LossHistory(3, (5.0,), (6.0,))


def test_a_huge_spike_does_not_blind_the_rule():
    history = filled([1.0, 1.1, 0.9, 1.0, 1.05, 1e6])
    assert history.is_spike(0, 4.0, 4.0, SETTINGS)


def test_a_level_that_has_risen_for_good_is_accepted_after_some_steps():
    history, skipped = filled([1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0, 1.1]), 0
    while history.is_spike(0, 3.0, 3.0, SETTINGS):
        history, skipped = history.after(0, 3.0, 3.0, SETTINGS), skipped + 1
    assert 1 <= skipped <= 4


def test_the_window_survives_a_checkpoint():
    progress = Progress(
        "one", 1, 1, 8, MixCursor(), skipped_steps=2, loss_history=filled([0.1] * 5)
    )
    assert Progress.from_dict(json.loads(json.dumps(progress.to_dict()))) == progress
    assert asdict(progress.in_stage("two").loss_history) == asdict(LossHistory())


def scaled(trainer, factor):
    return change_gradients(trainer, lambda gradient: gradient * factor)


def test_a_spike_is_skipped_and_counted_and_training_goes_on(make_trainer, make_phase):
    trainer = make_trainer(make_phase(num_steps=20), skip_spikes=SETTINGS)
    reports = [trainer.step() for _ in range(8)]
    assert all(report.applied for report in reports)
    before = weights_of(trainer)
    hook = scaled(trainer, 1e4)
    report = trainer.step()
    hook.remove()
    assert not report.applied
    assert math.isfinite(report.loss) and math.isfinite(report.gradient_norm)
    assert torch.equal(weights_of(trainer), before)
    assert (report.progress.skipped_steps, report.progress.consecutive_skips) == (1, 1)
    report = trainer.step()
    assert report.applied
    assert (report.progress.skipped_steps, report.progress.consecutive_skips) == (1, 0)


def test_it_is_off_by_default(make_trainer, make_phase):
    assert MonitorSettings().skipped_spikes is None
    trainer = make_trainer(make_phase(num_steps=20))
    for _ in range(8):
        trainer.step()
    scaled(trainer, 1e4)
    assert trainer.step().applied
    assert trainer.progress.loss_history == LossHistory()


def test_spike_after_spike_stops_the_run(make_trainer, make_phase):
    trainer = make_trainer(make_phase(num_steps=90), skip_spikes=SETTINGS, max_skipped_steps=4)
    for _ in range(8):
        trainer.step()
    factors = iter([1e4, 1e8, 1e12, 1e16])
    change_gradients(trainer, lambda gradient: gradient * next(factors))
    with pytest.raises(YxanulError, match="or spiking loss"):
        trainer.run()
