"""The signal of a task is its gain over the spread between seeds."""

import pytest

from task_signal import signals


def run(start, end, stderr=0.01, metric="task/blimp/accuracy", preset="nano"):
    return {
        "preset": preset,
        "start": {metric: start},
        "end": {metric: end, f"{metric}_stderr": stderr, "val/wiki/loss": 3.0},
    }


def test_the_gain_is_divided_by_the_spread_between_seeds():
    (found,) = signals([run(0.5, 0.6), run(0.5, 0.62), run(0.5, 0.58)])
    assert found["signal"] == pytest.approx(0.1 / 0.02) and found["shown"]
    (found,) = signals([run(0.5, 0.6, stderr=0.05), run(0.5, 0.62, stderr=0.05)])
    assert not found["shown"]  # more documents would be needed


def test_a_gain_is_downwards_for_what_is_better_low():
    name = "task/lambada_openai/perplexity"
    (found,) = signals([run(1000.0, 10.0, 0.1, name), run(1000.0, 11.0, 0.1, name)])
    assert found["signal"] > 3 and found["shown"] and found["stderr"] == pytest.approx(0.0095, 0.01)
    (found,) = signals([run(0.5, 0.45), run(0.5, 0.46)])
    assert found["signal"] < 0 and not found["shown"]


def test_one_seed_has_no_spread():
    assert not list(signals([run(0.5, 0.6)]))
