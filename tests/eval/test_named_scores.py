"""Held-out figures over all domains."""

import math

import pytest

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
    for name in ("loss", "perplexity", "bits_per_byte"):
        assert metrics[f"val/{name}"] == metrics[f"val/web/{name}"]


def test_a_domain_that_is_not_finite_shows():
    assert math.isnan(named({**SCORES, "x": Score(math.nan, 1, 1)})["val/loss"])
    assert named({"x": Score(1e4, 1, 1)})["val/perplexity"] == math.inf
