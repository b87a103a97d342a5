"""The contenders of a benchmark in turn, and the arithmetic that follows."""

import math

import pytest

from decode import agreeing
from harness.contenders import Contenders, alternating, figures, ratio, ratios_of, repeats_for
from harness.process import ContenderFailed
from peers import DATA, DECODE, LEARNING, STEP, TRAINER, Peer
from step import disagreements


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


@pytest.fixture
def table():
    return {
        "yxanul": Peer("ours"),
        "a": Peer("a"),
        "missing": Peer("b", needs=("no_such_package",)),
    }


def test_one_that_cannot_take_part_is_told_of(table):
    group = Contenders(table, table)
    assert group.names == ["yxanul", "a"]
    assert group.absent == {"missing": "skipped: not installed: no_such_package"}


def test_one_that_fails_is_left_out(table):
    def fail(name):
        asked.append(name)
        if name == "a" and len(asked) > 2:
            raise ContenderFailed("it broke\nsomewhere")
        return {"speed": len(asked)}

    asked: list[str] = []
    group = Contenders(table, ["yxanul", "a"])
    rounds = group.rounds(3, fail)
    assert asked == ["yxanul", "a", "a", "yxanul", "yxanul"]
    assert figures(rounds, "speed") == {"yxanul": [1, 4, 5]}
    assert group.names == ["yxanul"] and group.absent == {"a": "failed: it broke\nsomewhere"}
    assert group.each(fail) == {"yxanul": {"speed": 6}}


@pytest.mark.parametrize("contenders", [STEP, DECODE, DATA, TRAINER, LEARNING])
def test_ours_needs_nothing_and_peers_name_what_they_need(contenders):
    for name, peer in contenders.items():
        is_own = name.startswith(("yxanul", "nanogpt"))
        assert is_own == (peer.needs == ())
        assert not is_own or peer.why_not() is None


def test_a_peer_says_what_it_cannot_do():
    peer = Peer("some", kinds=("llama",), devices=("cuda",))
    assert peer.why_not("gemma3", "cuda") == "has no gemma3 shape"
    assert peer.why_not("llama", "cpu") == "is for cuda"
    assert peer.why_not("llama", "cuda") is None
