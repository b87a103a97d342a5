import math

import pytest

from yxanul.base.errors import YxanulError
from yxanul.optim.config import OptimSettings, ScheduleSettings
from yxanul.optim.schedules import check_schedule, lr_multiplier

PEAK = 3e-3


def rates(total_steps, step_tokens=7, **schedule):
    settings = OptimSettings(peak_lr=PEAK, schedule=ScheduleSettings(**schedule))
    return [
        PEAK
        * lr_multiplier(
            settings,
            step=step,
            total_steps=total_steps,
            tokens=step * step_tokens,
            total_tokens=total_steps * step_tokens,
        )
        for step in range(1, total_steps + 1)
    ]


def test_linear_to_zero_walks_by_equal_steps_to_zero_after_the_last_update():
    walked = rates(20, name="linear_to_zero", warmup_steps=5)
    assert walked[:5] == pytest.approx([PEAK * k / 5 for k in range(1, 6)])
    assert walked[4:] == pytest.approx([PEAK * k / 16 for k in range(16, 0, -1)])


def test_one_past_the_end_is_exactly_zero():
    settings = OptimSettings(peak_lr=PEAK)
    rate = lr_multiplier(settings, step=101, total_steps=100, tokens=0, total_tokens=1)
    assert rate == 0.0


def test_cosine_is_half_way_down_in_the_middle():
    walked = rates(101, name="cosine", warmup_steps=1, min_lr=1e-3)
    assert walked[50] == pytest.approx((PEAK + 1e-3) / 2)


def test_wsd_stays_then_falls():
    walked = rates(100, name="wsd", warmup_steps=10, decay_fraction=0.2)
    assert set(walked[9:80]) == {PEAK}
    assert walked[80:] == pytest.approx([PEAK * k / 21 for k in range(20, 0, -1)])


def test_wsd_with_a_floor_ends_on_it():
    assert rates(100, name="wsd", min_lr_fraction=0.1)[-1] == PEAK * 0.1


def test_a_clock_of_tokens_equals_one_of_steps_when_steps_are_equal():
    in_steps = rates(50, name="cosine", warmup_steps=10)
    assert rates(50, name="cosine", warmup_tokens=70) == pytest.approx(in_steps)
    assert rates(50, name="linear_to_zero", warmup_tokens=70) == pytest.approx(
        rates(50, name="linear_to_zero", warmup_steps=10)
    )


def test_a_clock_of_tokens_follows_the_tokens_not_the_steps():
    settings = OptimSettings(
        peak_lr=1.0, schedule=ScheduleSettings(name="linear", warmup_tokens=100, min_lr=0)
    )
    common = {"total_steps": 10, "total_tokens": 1100}
    assert lr_multiplier(settings, step=2, tokens=600, **common) == pytest.approx(0.5)
    assert lr_multiplier(settings, step=9, tokens=600, **common) == pytest.approx(0.5)


def test_an_update_that_steps_over_the_end_of_the_warmup_has_the_peak():
    settings = OptimSettings(peak_lr=PEAK, schedule=ScheduleSettings(warmup_tokens=100))
    sizes = [10, 20, 30, 50, 50, 50]
    seen = [
        lr_multiplier(
            settings,
            step=i + 1,
            total_steps=len(sizes),
            tokens=sum(sizes[: i + 1]),
            total_tokens=sum(sizes),
            step_tokens=sizes[i],
        )
        for i in range(len(sizes))
    ]
    assert seen[3] == 1 and seen[2] < 1 and seen[4] < 1


def test_warmup_fraction_is_a_share_of_the_run():
    walked = rates(200, name="constant", warmup_fraction=0.05)
    assert walked.index(PEAK) == 9


def test_phase_scale_is_no_business_of_the_schedule():
    """A pure function: asking twice, or in any order, gives the same."""
    assert rates(30, name="cosine") == rates(30, name="cosine")
    assert all(math.isfinite(rate) for rate in rates(1, name="cosine"))


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        ({"warmup_steps": 101}, "longer than the stage"),
        ({"warmup_tokens": 1001}, "longer than the stage"),
        ({"warmup_steps": 100}, "takes the whole stage"),
        ({"name": "wsd", "warmup_steps": 90}, "overlap"),
    ],
)
def test_a_warmup_that_does_not_fit_is_refused(schedule, sentence):
    settings = OptimSettings(peak_lr=1e-3, schedule=ScheduleSettings(**schedule))
    with pytest.raises(YxanulError, match=sentence):
        check_schedule(settings, total_steps=100, total_tokens=1000)


@pytest.mark.parametrize("schedule", [{"warmup_steps": 99}, {"warmup_fraction": 0.99}, {}])
def test_a_warmup_that_fits_is_accepted(schedule):
    settings = OptimSettings(peak_lr=1e-3, schedule=ScheduleSettings(**schedule))
    check_schedule(settings, total_steps=100, total_tokens=1000)


def test_even_a_run_of_one_step_has_a_schedule():
    check_schedule(OptimSettings(peak_lr=1e-3), total_steps=1, total_tokens=1)
    assert rates(1, name="linear_to_zero") == [PEAK]
