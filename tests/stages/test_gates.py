import math

import pytest

from recipes import write_tiny
from running import call, stage_of
from yxanul.eval.score import Score, named
from yxanul.stages.config import GateSettings, Rule
from yxanul.stages.gates import Evidence, Verdict, judge


def metrics(perplexities):
    """Perplexity on 100 tokens of 4 bytes."""
    return named(
        {
            name: Score(math.log(value) if value > 0 else math.nan, tokens=100, bytes=400)
            for name, value in dict(perplexities).items()
        }
    )


def verdict(gate=None, *, start=(), end=(), best=(), xz=None, new=None):
    references = {"start": metrics(start), "best": metrics(best), "xz": xz or {}}
    new = dict(start).keys() - dict(best).keys() if new is None else new
    return judge(gate or GateSettings(), Evidence(metrics(end), references, new))


def only(**rule):
    return GateSettings(rules=(Rule(**rule),), default_rules=False)


@pytest.mark.parametrize(
    ("factor", "passes"),
    [(1.0, True), (1.49, True), (1.51, False), (math.inf, False), (math.nan, False)],
)
def test_by_default_little_may_be_forgotten(factor, passes):
    assert verdict(end={"wiki": 12 * factor}, best={"wiki": 12.0}).passed is passes


def test_by_default_new_domains_may_not_have_become_worse():
    start = {"old": 5.0, "new": 100.0}
    assert verdict(start=start, end={"old": 6, "new": 9}, best={"old": 5}).passed
    assert not verdict(start=start, end={"old": 5, "new": 101}, best={"old": 5}).passed


def test_the_rules_of_a_stage_add_to_the_default_ones_or_replace_them():
    rule = Rule(metric="val/old/perplexity", at_most=20)
    end, best = {"old": 10}, {"old": 5}
    both, alone = GateSettings(rules=(rule,)), GateSettings(rules=(rule,), default_rules=False)
    assert [one.limit for one in verdict(both, end=end, best=best).findings] == [1.5, 20]
    assert not verdict(both, end=end, best=best).passed
    assert verdict(alone, end=end, best=best).passed


@pytest.mark.parametrize("metric", ["val/code/perplexity", "val/co*/perplexity"])
def test_a_rule_that_no_metric_matches_fails(metric):
    (finding,) = verdict(only(metric=metric, at_most=9), end={"wiki": 2}).findings
    assert not finding.passed and finding.measured is None
    assert str(finding) == f"{metric}: not measured, expected <= 9"


@pytest.mark.parametrize("against", ["start", "best", "xz"])
def test_a_reference_that_is_missing_fails(against):
    rule = only(metric="val/wiki/bits_per_byte", against=against, at_most=9)
    assert not verdict(rule, end={"wiki": 2}, new=["wiki"]).passed


def test_bounds_from_both_sides():
    # perplexity 4 on 100 tokens of 4 bytes: 2 bits a token, half a bit a byte
    most = only(metric="val/wiki/bits_per_byte", at_most=0.5)
    least = only(metric="val/wiki/bits_per_byte", at_least=0.5)
    for perplexity, passes in ((4 - 1e-9, (True, False)), (4 + 1e-9, (False, True))):
        found = [verdict(gate, end={"wiki": perplexity}).passed for gate in (most, least)]
        assert tuple(found) == passes


@pytest.mark.parametrize(("xz", "passes"), [(1.0, True), (0.99, False), (None, False)])
def test_against_a_compressor(xz, passes):
    gate = only(metric="val/wiki/bits_per_byte", at_most=0.5, against="xz")
    (finding,) = verdict(gate, end={"wiki": 4 - 1e-9}, xz={"val/wiki/bits_per_byte": xz}).findings
    assert finding.passed is passes and finding.against == "xz"
    assert finding.measured == (pytest.approx(0.5 / xz) if xz else None)


@pytest.mark.parametrize(
    ("over", "against", "judged"),
    [
        (None, None, {"old", "new"}),
        (None, "start", {"new"}),
        (None, "best", {"old"}),
        ("all", "start", {"old", "new"}),
        ("stage", None, {"new"}),
        ("earlier", None, {"old"}),
    ],
)
def test_the_domains_of_a_star(over, against, judged):
    gate = only(metric="val/*/loss", at_most=9, over=over, against=against)
    both = {"old": 3, "new": 4}
    findings = verdict(gate, start=both, end=both, best=both, new=["new"]).findings
    assert {finding.metric.split("/")[1] for finding in findings} == judged


def test_a_star_over_no_domain_asks_nothing():
    gate = only(metric="val/*/perplexity", at_most=1.5, against="best")
    assert verdict(gate, start={"wiki": 9}, end={"wiki": 8}).findings == ()


def test_all_domains_as_one():
    gate = only(metric="val/perplexity", at_most=3.5)
    assert verdict(gate, end={"a": 2, "b": 4}).passed  # exp of the mean loss: 2.83
    assert not verdict(gate, end={"a": 4, "b": 4}).passed


@pytest.mark.parametrize(
    "rule",
    [
        {"metric": "val/a/loss"},
        {"metric": "val/a/loss", "at_most": 1, "at_least": 0},
        {"metric": "val/a/perplexity", "at_most": 1, "against": "xz"},
        {"metric": "val/bits_per_byte", "at_most": 1, "against": "xz"},
        {"metric": "val/perplexity", "at_most": 1, "against": "start"},
        {"metric": "val/loss", "at_most": 1, "against": "best"},
        {"metric": "val/a/loss", "at_most": 1, "over": "all"},
        {"metric": "val/a/perplexty", "at_most": 1},
        {"metric": "*", "at_most": 1},
        {"metric": "train/loss", "at_most": 1},
    ],
)
def test_rules_that_make_no_sense_are_refused(rule):
    with pytest.raises(ValueError, match=r"metric|at_most|xz|over"):
        Rule(**rule)


def test_a_verdict_says_what_failed():
    failed = verdict(end={"wiki": 30}, best={"wiki": 10}).failures
    assert str(failed[0]) == "val/wiki/perplexity against best: 3, expected <= 1.5"


def test_a_verdict_reads_back():
    found = verdict(end={"wiki": 30}, best={"wiki": 10})
    assert Verdict.from_dict(found.to_dict()) == found


def of_task(measured, low, high, **rule):
    name = "task/blimp/accuracy"
    gate = only(**({"metric": name, "at_least": 0.6} | rule))
    evidence = Evidence({name: measured}, {}, (), {name: (low, high)})
    return judge(gate, evidence).findings[0]


def test_a_task_passes_if_its_whole_interval_does():
    assert of_task(0.65, 0.61, 0.69).passed
    shown = of_task(0.62, 0.58, 0.66)
    assert not shown.passed and shown.is_open
    assert str(shown) == (
        "task/blimp/accuracy: 0.62 (95 % interval 0.58 to 0.66), not shown to be >= 0.6"
    )
    failed = of_task(0.52, 0.48, 0.56)
    assert not failed.passed and not failed.is_open and ", expected >= 0.6" in str(failed)
    assert of_task(0.5, 0.4, 0.6, at_least=None, at_most=0.6).passed
    assert not of_task(0.5, 0.4, 0.61, at_least=None, at_most=0.6).passed


def test_a_reference_that_is_not_finite_shows_nothing():
    for value in (math.inf, math.nan):
        reference = {"val/wiki/loss": value}
        evidence = Evidence({"val/wiki/loss": 2.0}, {"start": reference}, {"wiki"})
        gate = only(metric="val/wiki/loss", at_most=1, against="start")
        assert not judge(gate, evidence).passed


def test_xz_is_measured_for_targets_as_well(tmp_path):
    target = "{metric: val/stories/bits_per_byte, at_most: 9, against: xz}"
    recipe, out = write_tiny(tmp_path), tmp_path / "run"
    said = call("run", recipe, f"stages.0.gate.targets=[{target}]", "--out", out)
    assert said.code == 0, said.err
    found = next(one for one in stage_of(out)["verdict"]["findings"] if one["is_target"])
    assert found["passed"] and found["measured"] > 0


def test_targets_are_reported_and_decide_nothing():
    gate = GateSettings(
        default_rules=False, targets=(Rule(metric="val/wiki/perplexity", at_most=12),)
    )
    found = verdict(gate, end={"wiki": 30})
    assert found.passed and not found.findings[0].passed
    assert str(found.findings[0]) == "target val/wiki/perplexity: 30, expected <= 12"
    assert Verdict.from_dict(found.to_dict()) == found
