"""The arithmetic of the benchmarks."""

import math

import pytest

from harness.rounds import agreeing, alternating, disagreements, ratio, ratios_of, repeats_for


def test_order_alternates():
    order = [name for _, name in alternating(["a", "b", "c"], 3)]
    assert order == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]
    assert [number for number, _ in alternating(["a", "b"], 2)] == [0, 0, 1, 1]


def test_ratio_pairs_rounds():
    assert ratio([20, 10, 30], [10, 10, 10]) == {"median": 2.0, "min": 1.0, "max": 3.0}
    # A machine that slows both down by half in one round changes nothing.
    assert ratio([20, 10], [10, 5]) == {"median": 2.0, "min": 2.0, "max": 2.0}


def test_ratios_of_ours_to_each_other_one():
    found = ratios_of({"yxanul": [2.0], "peer": [4.0], "yxanul-compiled": [8.0]})
    assert set(found) == {"yxanul", "yxanul-compiled"}
    assert found["yxanul"]["peer"]["median"] == 0.5
    assert found["yxanul-compiled"]["yxanul"]["median"] == 4.0
    assert ratios_of({"peer": [1.0]}) == {}


def test_a_round_lasts_as_long_as_asked():
    assert repeats_for(2.0, 0.3) == 7
    assert repeats_for(2.0, 5.0) == 2
    assert repeats_for(2.0, 5.0, least=1) == 1


@pytest.mark.parametrize(("loss", "differs"), [(1.0005, False), (1.002, True), (math.nan, True)])
def test_losses_that_differ_are_named(loss, differs):
    lines = disagreements({"yxanul": 1.0, "peer": loss}, 1e-3)
    assert [line.split()[0] for line in lines] == (["peer"] if differs else [])


def test_no_contender_no_disagreement():
    assert disagreements({}, 1e-3) == []


def test_tokens_agree_up_to_the_first_that_differs():
    assert agreeing([[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 0, 6]]) == 4
