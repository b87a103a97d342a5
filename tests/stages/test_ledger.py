import json
import math

import pytest

from yxanul.base.errors import YxanulError
from yxanul.eval.score import Score, named
from yxanul.stages.gates import Finding, Verdict
from yxanul.stages.ledger import Entry, Ledger


def entry(name, **at_end):
    scores = {domain: Score(math.log(value), 10, 40) for domain, value in at_end.items()}
    return Entry(name, "passed", 1000, 10, 0, {"val/wiki/loss": 8 / 3}, at_end=named(scores))


def verdict(passed):
    return Verdict((Finding("val/wiki/perplexity", "start", 1 / 3, "at_most", 1.0, passed),))


def test_what_is_written_is_read_back_exactly(tmp_path):
    first = entry("one")
    first.at_end, first.verdict = {"val/wiki/loss": 1 / 3}, verdict(True)
    second = Entry("two", "running", 5, 1, 10, {}, minutes=0.1, tokens_per_second=1234.567)
    path = tmp_path / "ledger.json"
    Ledger(path, {"precision": "bf16"}, [first, second]).write()
    read = Ledger.open(path)
    assert read == Ledger(path, {"precision": "bf16"}, [first, second])
    written = path.read_bytes()
    read.write()
    assert path.read_bytes() == written


def test_no_ledger_is_an_empty_one(tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.json")
    assert (ledger.entries, ledger.decisions) == ([], {})
    assert not ledger.path.exists()


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_another_version_is_refused(tmp_path, version):
    path = tmp_path / "ledger.json"
    Ledger(path).write()
    plain = json.loads(path.read_text()) | {"schema_version": version}
    path.write_text(json.dumps(plain))
    with pytest.raises(YxanulError, match=r"schema version .*, not 1"):
        Ledger.open(path)


def spoiled(**changes):
    return {"schema_version": 1, "decisions": {}, "stages": [{**entry("one").to_dict(), **changes}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not valid JSON"),
        ("[1]", "unknown format"),
        ("null", "unknown format"),
        ('{"schema_version": 1}', "no 'stages'"),
        (json.dumps(spoiled(status="done")), "status 'done'"),
        (json.dumps(spoiled(at_end=None)), "unknown format"),
        (json.dumps(spoiled(at_end={"stories": {}})), "unknown format"),
        (json.dumps(spoiled(colour="red")), "unknown format"),
    ],
)
def test_a_damaged_ledger_is_an_error_with_a_way_out(tmp_path, content, said):
    path = tmp_path / "ledger.json"
    path.write_text(content)
    with pytest.raises(YxanulError, match=rf"ledger\.json.*{said}.*restore it") as caught:
        Ledger.open(path)
    assert "\n" not in str(caught.value)


def test_entries_are_found_by_name():
    one, two = entry("one"), entry("two")
    ledger = Ledger(None, entries=[one, two])
    assert ledger.entry("two") is two
    assert ledger.entry("three") is None


def test_the_best_of_a_metric_is_that_of_the_stages_before():
    ledger = Ledger(
        None,
        entries=[entry("a", wiki=9), entry("b", wiki=5, code=7), entry("c", wiki=6, code=3)],
    )
    for before, wanted in {
        "a": {},
        "b": {"wiki": 9},
        "c": {"wiki": 5, "code": 7},
        "d": {"wiki": 5, "code": 3},
    }.items():
        best = ledger.best_metrics(before)
        found = {domain: best.get(f"val/{domain}/perplexity") for domain in wanted}
        assert found == pytest.approx(wanted) and bool(best) == bool(wanted)
