"""Held-out figures over all domains."""

import math

import pytest

from yxanul.base.metric_names import check_metric
from yxanul.eval.score import Score, named

SCORES = {"web": Score(2.0, tokens=300, bytes=1200), "math": Score(4.0, tokens=100, bytes=200)}


def test_the_figures_over_all_domains_are_those_of_their_text_as_one():
    metrics = named(SCORES)
    assert metrics["val/loss"] == pytest.approx((2 * 300 + 4 * 100) / 400)
    assert metrics["val/perplexity"] == pytest.approx(math.exp(metrics["val/loss"]))
    assert metrics["val/bits_per_byte"] == pytest.approx(1000 / math.log(2) / 1400)
    assert metrics["val/math/perplexity"] == pytest.approx(math.exp(4))


def test_one_domain_is_all():
    metrics = named({"web": SCORES["web"]})
    figures = ("loss", "perplexity", "bits_per_byte")
    assert set(metrics) == {f"{of}/{name}" for of in ("val", "val/web") for name in figures}
    for name in figures:
        assert metrics[f"val/{name}"] == metrics[f"val/web/{name}"]


def test_several_domains_are_compared():
    metrics = named(SCORES)
    mean = (math.exp(2) + math.exp(4)) / 2
    assert metrics["val/web/surprise_ratio"] == pytest.approx(math.exp(2) / mean)
    assert metrics["val/math/surprise_ratio"] == pytest.approx(math.exp(4) / mean)
    assert metrics["val/loss_variance"] == pytest.approx(1.0)


@pytest.mark.parametrize("loss", [math.inf, 1e4])
def test_a_domain_of_infinite_perplexity_leaves_the_figures_over_all_domains_finite(loss):
    alone, metrics = named(SCORES), named({**SCORES, "x": Score(loss, 50, 50)})
    own = {name: metrics.pop(name) for name in list(metrics) if name.startswith("val/x/")}
    assert metrics == alone
    assert own["val/x/perplexity"] == own["val/x/surprise_ratio"] == math.inf


def test_every_metric_is_known_by_name():
    assert all(check_metric(name) for name in named(SCORES))


def test_a_domain_that_is_not_finite_shows():
    assert math.isnan(named({**SCORES, "x": Score(math.nan, 1, 1)})["val/loss"])
    assert named({"x": Score(1e4, 1, 1)})["val/perplexity"] == math.inf
