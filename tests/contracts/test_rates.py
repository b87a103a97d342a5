"""Every preset has a usual rate for every optimizer."""

import math

import pytest

from yxanul.model.config import ModelSettings
from yxanul.model.zoo import PRESETS
from yxanul.optim.build import OPTIMIZERS
from yxanul.optim.config import OptimSettings
from yxanul.optim.rates import ADAMW_RATES, RATE_FACTORS, usual_rate


def test_every_optimizer_has_a_factor():
    assert set(RATE_FACTORS) == set(OPTIMIZERS)
    assert all(0 < factor <= 1 for factor in RATE_FACTORS.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_rate(preset, name):
    width = ModelSettings.model_validate({"preset": preset}).width
    rate = OptimSettings(name=name).at_width(width).peak_rate
    assert rate == usual_rate(name, width)
    assert math.isfinite(rate) and 1e-5 < rate < 1e-2


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_wider_models_have_no_higher_rate(name):
    rates = [usual_rate(name, width) for width in range(32, 16_385, 32)]
    assert rates == sorted(rates, reverse=True)
    widest, rate = ADAMW_RATES[-1]
    assert usual_rate(name, 4 * widest) == pytest.approx(rate * RATE_FACTORS[name] / 4, rel=0.05)


def test_the_tables_are_in_order():
    widths, rates = zip(*ADAMW_RATES, strict=True)
    assert sorted(set(widths)) == list(widths)
    assert sorted(set(rates), reverse=True) == list(rates)
