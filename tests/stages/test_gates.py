import math

import pytest

from yxanul.eval.score import Score
from yxanul.stages.config import BitsLimit, GateSettings, Limit
from yxanul.stages.gates import Evidence, judge


def score(perplexity: float) -> Score:
    return Score(math.log(perplexity) if perplexity > 0 else math.nan, tokens=100, bytes=400)


def verdict(settings: GateSettings, *, start=(), end=(), best=()):
    scores = {name: score(value) for name, value in dict(end).items()}
    starts = {name: score(value) for name, value in dict(start).items()}
    return judge(settings, Evidence(starts, scores, dict(best)))


@pytest.mark.parametrize(
    ("factor", "passes"),
    [(1.0, True), (1.49, True), (1.51, False), (math.inf, False), (math.nan, False)],
)
def test_forgetting_is_a_ratio_to_the_best(factor, passes):
    settings = GateSettings(forgetting=Limit(at_most=1.5))
    assert verdict(settings, end={"wiki": 12 * factor}, best={"wiki": 12.0}).passed is passes


def test_a_missing_figure_never_passes():
    assert not verdict(GateSettings(), best={"wiki": 12.0}).passed
    assert not verdict(GateSettings(bits_per_byte={"wiki": BitsLimit(at_most=9)})).passed


def test_bits_per_byte_and_perplexity():
    settings = GateSettings(
        bits_per_byte={"wiki": BitsLimit(at_most=0.5)}, perplexity={"wiki": Limit(at_most=4)}
    )
    # perplexity 4 on 100 tokens of 4 bytes: 2 bits a token, half a bit a byte
    assert verdict(settings, end={"wiki": 4 - 1e-9}).passed
    failed = verdict(settings, end={"wiki": 4.1}).failures
    assert [finding.gate for finding in failed] == ["bits_per_byte", "perplexity"]


@pytest.mark.parametrize(("xz", "passes"), [(1.0, True), (0.99, False), (None, False)])
def test_bits_per_byte_against_a_compressor(xz, passes):
    limit = BitsLimit(at_most=0.5, against="xz")
    evidence = Evidence({}, {"wiki": score(4 - 1e-9)}, {}, {"wiki": xz}.get)
    (finding,) = judge(GateSettings(bits_per_byte={"wiki": limit}), evidence).findings
    assert finding.passed is passes and finding.gate == "bits_per_byte/xz"
    assert finding.measured == (pytest.approx(0.5 / xz) if xz else None)


def test_progress_is_asked_of_new_domains_only():
    start = {"old": 5.0, "new": 100.0}
    assert verdict(GateSettings(), start=start, end={"old": 6, "new": 9}, best={"old": 5}).passed
    assert not verdict(
        GateSettings(), start=start, end={"old": 5, "new": 101}, best={"old": 5}
    ).passed


def test_a_verdict_says_what_failed():
    failed = verdict(GateSettings(), end={"wiki": 30}, best={"wiki": 10}).failures
    assert str(failed[0]) == "forgetting of wiki: 3 is not <= 1.5"
