import json
import math

import pytest

from yxanul.monitor.alerts import ALERTS, QUIET_STEPS, AlertMonitor

CALM = {"train/loss": 2.0, "optim/gradient_norm": 1.0, "optim/clip_rate": 0.1}


def calm(step, noise=0.02):
    return CALM | {"train/loss": 2.0 + noise * math.sin(step) - 1e-5 * step}


def names(watch, step, metrics):
    return [alert.name for alert in watch.look(step, metrics)]


def watch_after(num_steps):
    watch = AlertMonitor()
    for step in range(1, num_steps + 1):
        assert watch.look(step, calm(step)) == []
    return watch


def test_a_calm_run_raises_nothing():
    watch_after(1500)


CASES = {
    "gradient_explosion": [{"optim/gradient_norm": 101.0}, {"optim/gradient_min": -101.0}],
    "gradient_vanishing": [{"optim/gradient_norm": 9e-7}, {"optim/gradient_norm": 0.0}],
    "not_finite": [
        {"train/loss": math.nan},
        {"optim/gradient_norm": math.inf},
        {"val/loss": math.nan},
        {"val/loss": 2.0, "val/math/loss": math.inf},
        {"optim/num_infs": 1},
    ],
    "train_validation_gap": [{"val/loss": 3.1}],
    "clip_rate": [{"optim/clip_rate": 0.21}],
    "loss_spike": [{"train/loss": 2.5}],
}
NEAR_MISSES = [
    {"optim/gradient_norm": 99.9},
    {"optim/gradient_norm": 1.1e-6},
    {"optim/gradient_norm": 500.0, "optim/gradient_max": 99.0},
    {"val/loss": 2.9},
    {"val/loss": 0.5},
    {"optim/clip_rate": 0.2},
    {"train/loss": 2.03},
    {"train/loss": 1.0},
    {"train/perplexity": math.inf},
    {"optim/num_nans": 0},
]


@pytest.mark.parametrize(
    ("name", "metrics"), [(name, metrics) for name, cases in CASES.items() for metrics in cases]
)
def test_each_rule_raises_its_alert_alone(name, metrics):
    assert names(watch_after(210), 211, calm(211) | metrics) == [name]


@pytest.mark.parametrize("metrics", NEAR_MISSES, ids=str)
def test_just_below_the_limit_is_quiet(metrics):
    assert watch_after(60).look(61, calm(61) | metrics) == []


def test_no_improvement_is_raised_after_a_thousand_steps_without_a_new_low():
    watch = AlertMonitor()
    raised = {}
    for step in range(1, 1200):
        loss = 3.0 if step < 100 else 2.0
        for alert in watch.look(step, CALM | {"train/loss": loss}):
            raised[alert.name] = step
    assert set(raised) == {"no_improvement"}
    lowest_since = 100 + 25  # the median of fifty follows after twenty-five
    assert abs(raised["no_improvement"] - (lowest_since + 1000)) <= 2


def test_an_alert_says_what_was_seen_why_and_what_to_try():
    (alert,) = watch_after(60).look(61, calm(61) | {"train/loss": 2.5})
    assert alert.step == 61
    assert str(alert).startswith("step 61: a loss of 2.500, after a median of 2.0")
    assert "likely" in str(alert) and "try" in str(alert)
    for rule in ALERTS.values():
        assert rule.cause and rule.advice and rule.check.__doc__


def test_what_lasts_is_said_once_and_again_after_a_quiet_time():
    watch = watch_after(60)
    loud = {"optim/gradient_norm": 200.0}
    assert names(watch, 61, calm(61) | loud) == ["gradient_explosion"]
    for step in range(62, 100):
        assert names(watch, step, calm(step) | loud) == []
    for step in range(100, 99 + QUIET_STEPS + 1):
        assert names(watch, step, calm(step)) == []
    step = 99 + QUIET_STEPS + 1
    assert names(watch, step, calm(step) | loud) == ["gradient_explosion"]


def test_early_steps_are_not_judged_by_a_window_that_is_hardly_filled():
    watch = AlertMonitor()
    assert names(watch, 1, CALM | {"train/loss": 8.0, "optim/clip_rate": 1.0}) == []
    assert names(watch, 2, CALM | {"train/loss": 12.0, "optim/clip_rate": 1.0}) == []


def test_metrics_of_validation_alone_can_be_looked_at():
    watch = watch_after(60)
    assert names(watch, 60, {"val/loss": 3.5}) == ["train_validation_gap"]


def test_a_resumed_watch_raises_the_same_alerts():
    def metrics(step):
        wild = {300: {"train/loss": 9.0}, 700: {"optim/gradient_norm": 1e4}, 701: {"val/loss": 8}}
        flat = {"train/loss": 2.0} if step > 800 else {}
        return calm(step) | flat | wild.get(step % 1000, {})

    straight, resumed = AlertMonitor(), AlertMonitor()
    wanted = [alert for step in range(1, 2200) for alert in straight.look(step, metrics(step))]
    got = []
    for step in range(1, 2200):
        got += resumed.look(step, metrics(step))
        if step % 331 == 0:
            plain = json.loads(json.dumps(resumed.to_dict()))
            resumed = AlertMonitor()
            resumed.load(plain)
    assert got == wanted
    assert len({alert.name for alert in wanted}) >= 4
