"""What every learning-rate schedule must do, on either clock."""

import math
from typing import get_args

import pytest

from yxanul.optim.config import OptimSettings, ScheduleSettings
from yxanul.optim.schedules import SCHEDULES, lr_multiplier

PEAK, TOTAL, SIZE = 3.3e-4, 97, 13
WARMUPS = [
    {"warmup_steps": 11},
    {"warmup_tokens": 11 * SIZE},
    {"warmup_fraction": 11 / TOTAL},
    {"warmup_fraction": 11 / TOTAL, "schedule_unit": "tokens"},
]


def walk(settings):
    return [
        settings.peak_lr
        * lr_multiplier(
            settings, step=s, total_steps=TOTAL, tokens=s * SIZE, total_tokens=TOTAL * SIZE
        )
        for s in range(1, TOTAL + 1)
    ]


def test_every_name_in_the_settings_is_in_the_table():
    names = get_args(ScheduleSettings.model_fields["name"].annotation)
    assert set(names) == set(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", WARMUPS, ids=str)
class TestSchedule:
    def test_rises_to_the_exact_peak_and_never_above(self, name, warmup):
        rates = walk(OptimSettings(peak_lr=PEAK, schedule={"name": name, **warmup}))
        assert max(rates) == PEAK == rates[10]
        assert rates[:11] == pytest.approx([PEAK * s / 11 for s in range(1, 12)])

    def test_never_rises_after_the_warmup_and_wastes_no_update(self, name, warmup):
        rates = walk(OptimSettings(peak_lr=PEAK, schedule={"name": name, **warmup}))
        assert rates[10:] == sorted(rates[10:], reverse=True)
        assert rates[-1] > 0

    def test_ends_exactly_where_it_says(self, name, warmup):
        schedule = {"name": name, **warmup}
        if name in ("linear", "cosine", "wsd"):
            schedule["min_lr"] = 1.7e-5
        rates = walk(OptimSettings(peak_lr=PEAK, schedule=schedule))
        ends = {"linear_to_zero": rates[-2] / 2, "constant": PEAK}
        assert rates[-1] == pytest.approx(ends.get(name, 1.7e-5), rel=1e-12)


@pytest.mark.parametrize("warmup", WARMUPS, ids=str)
@pytest.mark.parametrize(
    ("share", "floor"), [(0.2, 1.7e-5), (0.5, 0.0), (0.01, 1e-4), (0.88, PEAK)]
)
def test_wsd_comes_down_over_exactly_its_share(warmup, share, floor):
    schedule = {"name": "wsd", "decay_fraction": share, "min_lr": floor, **warmup}
    settings = OptimSettings(peak_lr=PEAK, schedule=schedule)
    unit = SIZE if settings.schedule.clock == "tokens" else 1
    decay = round(share * TOTAL * unit) / unit
    rates, first = walk(settings), math.floor(TOTAL - decay)
    assert set(rates[10:first]) == {PEAK}
    down = [floor + (PEAK - floor) * (TOTAL - s) / decay for s in range(first + 1, TOTAL + 1)]
    assert rates[first:] == pytest.approx(down, rel=1e-9, abs=1e-12)
    assert rates[-1] == floor
