"""Every preset has a usual rate for every optimizer."""

import math

import pytest

from yxanul.model.config import ModelSettings
from yxanul.model.zoo import PRESETS
from yxanul.optim.config import OptimSettings
from yxanul.optim.table import OPTIMIZERS, usual_lr


def test_no_optimizer_has_a_higher_rate_than_its_table():
    assert all(0 < row.rate_factor <= 1 for row in OPTIMIZERS.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_rate(preset, name):
    width = ModelSettings.model_validate({"preset": preset}).width
    rate = OptimSettings(name=name).at_width(width).peak_lr
    assert rate == usual_lr(name, width)
    assert math.isfinite(rate) and 1e-5 < rate < 1e-2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_wider_models_have_no_higher_rate(name):
    rates = [usual_lr(name, width) for width in range(32, 16_385, 32)]
    assert rates == sorted(rates, reverse=True)
    row = OPTIMIZERS[name]
    widest, rate = row.rates[-1]
    assert usual_lr(name, 4 * widest) == pytest.approx(rate * row.rate_factor / 4, rel=0.05)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_tables_are_in_order(name):
    widths, rates = zip(*OPTIMIZERS[name].rates, strict=True)
    assert sorted(set(widths)) == list(widths)
    assert sorted(set(rates), reverse=True) == list(rates)
