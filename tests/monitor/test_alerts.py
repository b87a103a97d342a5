import json
import math

import pytest

from yxanul.monitor.alerts import ALERTS, AlertMonitor
from yxanul.monitor.alerts.monitor import GENERIC, QUIET_STEPS
from yxanul.monitor.alerts.table import TIMED
from yxanul.monitor.config import AlertSettings, MonitorSettings

FACTS = {"model/vocab_size": 2048, "model/from_scratch": 1.0, "data/synthetic": 0.0}


def calm(step, **changes):
    """Return the metrics of a healthy update; names with _ for the first slash."""
    metrics = {
        "train/loss": 4.0 + 0.02 * math.sin(step) - 1e-4 * step,
        "optim/gradient_norm": 1.0,
        "optim/learning_rate": 1e-3,
        "optim/clip_rate": 0.3,
        "optim/skipped": 0.0,
        "curriculum/clip": 1.0,
        "curriculum/phase": 0,
        "data/sequence_length": 64,
        "data/unigram_entropy": 6.0,
        "data/target_is_input": 0.01,
        "data/checksum": step,
        "data/epochs": 0.0,
        "data/held_out_seen": 0.0,
        "data/actual_tokens": 4096,
        "perf/data_time": 0.001,
        "perf/total_step_time": 0.2,
        "perf/tokens_per_second": 1000.0,
        "memory/allocated_gb": 1.0,
    }
    return (FACTS if step == 1 else {}) | metrics | changes


def names(monitor, step, metrics):
    return [alert.name for alert in monitor.check(step, metrics)]


def monitor_after(num_steps, settings=None, **changes):
    monitor = AlertMonitor(settings)
    for step in range(1, num_steps + 1):
        assert monitor.check(step, calm(step, **changes)) == []
    return monitor


def test_every_alert_has_its_action_in_the_settings():
    assert set(AlertSettings.model_fields) - {"all"} == set(ALERTS)
    assert set(TIMED) < set(ALERTS)


def test_rules_have_texts_and_silence_alerts_that_there_are():
    for name, rule in ALERTS.items():
        assert rule.cause and rule.check.__doc__ and rule.advice.format(**GENERIC, step=1)
        assert set(rule.silences) <= set(ALERTS) - {name}


def test_a_calm_run_raises_nothing():
    monitor_after(2500)


CASES = {
    "not_finite": [
        {"train/loss": math.nan},
        {"optim/gradient_norm": math.inf},
        {"val/loss": math.nan},
        {"val/loss": 4.0, "val/math/loss": math.inf},
        {"optim/num_infs": 1},
        {"train/loss": math.nan, "optim/gradient_max": 1e9, "optim/gradient_norm": math.nan},
    ],
    "duplicated_batches": [{"data/checksum": 200}, {"data/repeated_rows": 0.5}],
    "held_out_in_training": [{"data/held_out_seen": 0.03}],
    "too_good": [
        {"train/loss": 0.4},
        {"data/target_is_input": 0.99},
        {"model/future_leak": 0.1},
        {"train/loss": 0.4, "val/mix_loss": 5.0},
    ],
    "wrong_tokenizer": [
        {"val/mix_loss": math.log(2048) + 0.1},
        {"val/mix_loss": 3.9, "val/bytes_per_token": 1.2},
    ],
    "loss_spike": [
        {"train/loss": 4.5},
        {"optim/skipped_spike": 1.0},
        {"train/loss": 9.0, "optim/gradient_norm": 1e4, "val/mix_loss": 5.5},
    ],
    "gradient_explosion": [
        {"optim/gradient_max": 101.0},
        {"optim/gradient_max": 1.0, "optim/gradient_min": -101.0},
    ],
    "dead_units": [
        {"dead_neurons/3": 0.11, "dead_neurons/4": 0.0},
        {"weights/first/dead_ratio": 0.5, "gradient_norm/first": 0.0},
    ],
    "frozen_group": [{"update_ratio/ffn": 0.0}, {"gradient_norm/head": 0.0}],
    "gradient_vanishing": [{"optim/gradient_norm": 9e-7}, {"optim/gradient_norm": 0.0}],
    "gradient_ratio": [{"gradient_norm/first": 1e-8, "gradient_norm/last": 1e-2}],
    "attention_entropy": [{"attention_entropy_normalized/1": 0.04}],
    "attention_logits": [
        {"attention_logit_max/0": 1001.0},
        {"attention_logit_max/0": 2e4, "attention_entropy_normalized/0": 0.01},
    ],
    "output_logits": [{"logits/logsumexp_mean": 101.0}, {"logits/logsumexp_mean": -101.0}],
    "clip_rate": [{"optim/clip_rate": 0.9, "curriculum/clip": 0.05}],
    "train_validation_gap": [{"val/mix_loss": 5.1}, {"val/loss": 5.1}],
}
NEAR_MISSES = [
    {"optim/num_nans": 0},
    {"train/perplexity": math.inf},
    {"data/checksum": 160},
    {"data/repeated_rows": 0.1},
    {"data/repeated_rows": 0.9, "data/epochs": 2},
    {"data/held_out_seen": 0.02},
    {"train/loss": 0.51},
    {"train/loss": 0.4, "data/epochs": 1.5},
    {"data/target_is_input": 0.5},
    {"model/future_leak": 0.0},
    {"train/loss": 4.03},
    {"optim/gradient_norm": 500.0},
    {"optim/gradient_norm": math.inf, "optim/skipped_excused": 1.0},
    {"train/loss": 0.4, "model/vocab_size": 256},
    {"update_ratio/norms": 0.0, "optim/learning_rate": 1e-8},
    {"optim/gradient_norm": 500.0, "optim/gradient_max": 99.0},
    {"optim/gradient_norm": 1.1e-6},
    {"dead_neurons/3": 0.1, "weights/first/dead_ratio": 0.1},
    {"update_ratio/ffn": 0.0, "optim/skipped": 1.0},
    {"update_ratio/norms": 0.0, "optim/learning_rate/norm": 0.0},
    {"gradient_norm/first": 1e-8, "gradient_norm/last": 1e-7},
    {"attention_entropy_normalized/1": 0.06},
    {"attention_logit_max/0": 999.0},
    {"logits/logsumexp_mean": 60.0},
    {"optim/clip_rate": 1.0, "curriculum/clip": 0.11},
    {"val/mix_loss": 4.9, "val/loss": 9.0},
    {"val/mix_loss": 1.0},
    {"val/bytes_per_token": 1.6},
]


@pytest.mark.parametrize(
    ("name", "metrics"), [(name, metrics) for name, cases in CASES.items() for metrics in cases]
)
def test_each_rule_raises_its_alert_alone(name, metrics):
    assert names(monitor_after(210), 211, calm(211, **metrics)) == [name]


@pytest.mark.parametrize("metrics", NEAR_MISSES, ids=str)
def test_just_below_the_limit_is_quiet(metrics):
    assert monitor_after(210).check(211, calm(211, **metrics)) == []


def test_half_the_entropy_of_single_tokens_is_too_good_in_the_first_100_updates_only():
    low = {"train/loss": 2.9}
    assert names(monitor_after(99), 100, calm(100, **low)) == ["too_good"]
    assert names(monitor_after(100), 101, calm(101, **low)) == []
    resumed = AlertMonitor()
    resumed.check(1, calm(1, **{"model/from_scratch": 0.0}))
    assert names(resumed, 2, calm(2, **low)) == []


def test_synthetic_text_may_be_simple():
    monitor = AlertMonitor()
    monitor.check(1, calm(1, **{"data/synthetic": 1.0}))
    for step in range(2, 300):
        low = {"train/loss": 0.3 if step > 60 else 4.0, "data/held_out_seen": 0.5}
        assert names(monitor, step, calm(step, **low)) == []
    low = {"train/loss": 0.09, "data/held_out_seen": 0.5}
    assert names(monitor, 300, calm(300, **low)) == ["too_good"]
    copied = {"train/loss": 0.3, "data/held_out_seen": 0.61}
    assert names(monitor, 301, calm(301, **copied)) == ["held_out_in_training"]


def raised(changes, steps=2500):
    """Return the step at which each alert is first raised: `changes(step)` differ from a calm
    run."""
    monitor, first = AlertMonitor(), {}
    for step in range(1, steps):
        for name in names(monitor, step, calm(step, **changes(step))):
            first.setdefault(name, step)
    return first


def test_a_spike_that_stays():
    found = raised(lambda step: {"train/loss": 6.0 + 0.01 * math.sin(step)} if step > 300 else {})
    assert set(found) == {"loss_spike", "spike_stays"}
    assert found["loss_spike"] == 301 and found["spike_stays"] == 401


def test_a_spike_that_goes_is_one_alert():
    found = raised(lambda step: {"train/loss": 6.0} if step == 300 else {}, 800)
    assert found == {"loss_spike": 300}


def test_a_spike_ends_whether_or_not_its_rule_is_on():
    for action in ("stop", "off"):
        monitor = AlertMonitor(MonitorSettings(alerts={"spike_stays": action}))
        for step in range(1, 500):
            monitor.check(step, calm(step, **({"train/loss": 6.0} if step == 300 else {})))
            assert monitor.spike_step == (300 if 300 <= step < 400 else None)


def test_spikes_again_and_again():
    found = raised(lambda step: {"train/loss": 9.0} if step % 200 == 150 else {}, 1300)
    assert found == {"loss_spike": 150, "frequent_spikes": 951}


def test_a_plateau_is_2000_updates_without_progress_before_the_end_of_the_rate():
    flat = {"train/loss": 4.0}
    assert raised(lambda step: flat) == {"plateau": 2050}
    assert raised(lambda step: flat | {"optim/learning_rate": 1e-3 if step < 900 else 1e-4}) == {}


@pytest.mark.parametrize(
    ("group", "ratio", "is_bad"),
    [
        ("ffn", 0.11, True),
        ("ffn", 0.05, False),
        ("norms", 6e-3, True),
        ("norms", 2e-3, False),
        ("embedding", 9e-6, True),
        ("norms", 9e-6, False),
    ],
)
def test_an_update_ratio_counts_after_100_updates(group, ratio, is_bad):
    every = {f"update_ratio/{group}": ratio}
    found = raised(lambda step: every if step % 20 == 0 else {}, 400)
    assert found == ({"update_ratio": 120} if is_bad else {})


def test_attention_entropy_is_compared_with_update_500():
    def changes(step):
        entropy = 0.3 if step <= 1000 else 0.07
        return {"attention_entropy_normalized/0": entropy} if step % 500 == 0 else {}

    assert raised(changes) == {"attention_entropy": 1500}


def test_output_logits_are_compared_with_their_first_value():
    found = raised(lambda step: {"logits/logsumexp_mean": 7.0 if step < 300 else 71.0}, 400)
    assert found == {"output_logits": 300}


def test_starvation_is_of_100_updates_and_not_of_one_long_wait():
    slow = {"perf/data_time": 0.03}
    assert raised(lambda step: slow, 300) == {"starvation": 101}
    wait = {"perf/data_time": 90.0, "perf/total_step_time": 90.2}
    assert raised(lambda step: wait if step == 5 else {}, 300) == {}
    fast = {"perf/data_time": 0.002, "perf/total_step_time": 0.01}
    assert raised(lambda step: fast, 300) == {}


def test_a_leak_grows_steadily_and_more_than_the_text_that_is_read():
    def growth(megabytes):
        return lambda step: {"memory/allocated_gb": 1 + step * megabytes / 1024}

    assert raised(growth(1.1), 400) == {"memory_leak": 210}
    assert raised(growth(0.9), 400) == {}
    filling = raised(lambda step: {"memory/allocated_gb": 2 - math.exp(-step / 30)}, 400)
    assert filling == {}

    def big(step):
        return growth(4.0)(step) | {"data/actual_tokens": 2**19}

    assert raised(big, 400) == {}


def test_a_fall_of_the_throughput():
    found = raised(lambda step: {"perf/tokens_per_second": 600.0 if step > 300 else 1000.0}, 500)
    assert found == {"throughput_fall": 330}


@pytest.mark.parametrize(
    "planned",
    ["curriculum/stage", "curriculum/phase", "curriculum/lr_scale", "data/sequence_length"],
)
def test_a_planned_change_starts_the_windows_afresh(planned):
    def changes(step):
        return {planned: 9, "train/loss": 7.0, "perf/tokens_per_second": 9.0} if step > 300 else {}

    assert raised(changes, 600) == {}


def test_an_alert_says_what_was_seen_why_and_what_to_try():
    monitor = monitor_after(100)
    monitor.advice = GENERIC | {"lower_lr": "optim.peak_lr=0.0015"}
    (alert,) = monitor.check(101, calm(101, **{"train/loss": 4.5}))
    assert (alert.name, alert.step, alert.severity) == ("loss_spike", 101, "warn")
    assert str(alert).startswith("step 101: loss_spike: a loss of 4.500, after a median of 3.9")
    assert alert.advice.endswith("`yxanul data show RUN --step 101`")
    assert "likely" in str(alert) and "optim.peak_lr=0.0015" in alert.advice


def test_what_lasts_is_said_once_and_again_after_it_cleared_and_500_updates():
    monitor = monitor_after(60)
    loud = {"optim/gradient_max": 200.0}
    assert names(monitor, 61, calm(61, **loud)) == ["gradient_explosion"]
    for step in range(62, 700):
        assert names(monitor, step, calm(step, **loud)) == []
    for step in range(700, 700 + QUIET_STEPS):
        assert names(monitor, step, calm(step, **{"optim/gradient_max": 1.0})) == []
    step = 700 + QUIET_STEPS
    assert names(monitor, step, calm(step, **loud)) == ["gradient_explosion"]


def test_what_is_measured_seldom_is_not_repeated_for_the_gaps_between():
    monitor = AlertMonitor()
    found = []
    for step in range(1, 4001):
        gap = {"val/mix_loss": 5.6} if step % 1000 == 0 else {}
        found += names(monitor, step, calm(step, **gap))
    assert found == ["train_validation_gap"]


def test_alerts_that_are_off_are_not_raised_and_silence_none():
    settings = MonitorSettings(alerts={"loss_spike": "off"})
    monitor = monitor_after(100, settings)
    wild = calm(101, **{"train/loss": 9.0, "optim/gradient_max": 1e4})
    assert names(monitor, 101, wild) == ["gradient_explosion"]
    none = MonitorSettings(alerts={"all": "off"})
    assert names(monitor_after(100, none), 101, wild) == []


def test_yaml_reads_off_as_false():
    settings = AlertSettings(all=False, plateau="stop")
    assert settings.action("clip_rate") == "off" and settings.action("plateau") == "stop"
    with pytest.raises(ValueError, match=r"write \{all: off\} for false"):
        MonitorSettings(alerts=False)
    with pytest.raises(ValueError, match="plateau"):
        AlertSettings(plateau="skip")


def test_metrics_of_validation_alone_can_be_checked():
    assert names(monitor_after(60), 60, {"val/loss": 5.5}) == ["train_validation_gap"]


def test_a_resumed_monitor_raises_the_same_alerts():
    def metrics(step):
        wild = {300: {"train/loss": 9.0}, 700: {"optim/gradient_norm": 1e4}, 990: {"val/loss": 7}}
        seldom = {"attention_entropy_normalized/0": 0.3 - step / 8000} if step % 100 == 0 else {}
        return calm(step, **(wild.get(step % 1000, {}) | seldom | {"update_ratio/ffn": 0.2}))

    straight, resumed = AlertMonitor(), AlertMonitor()
    wanted = [alert for step in range(1, 2200) for alert in straight.check(step, metrics(step))]
    got = []
    for step in range(1, 2200):
        got += resumed.check(step, metrics(step))
        if step % 331 == 0:
            plain = json.loads(json.dumps(resumed.to_dict()))
            resumed = AlertMonitor()
            resumed.load(plain)
            assert json.loads(json.dumps(resumed.to_dict())) == plain
    assert got == wanted
    assert len({alert.name for alert in wanted}) >= 4


def test_the_state_of_an_older_version_is_ignored():
    monitor = AlertMonitor()
    monitor.load({"losses": [1.0], "num_steps": 1, "best_median": 1.0, "last_seen": {}})
    assert monitor.check(1, calm(1)) == []
