"""Reports and plans from the command line, and the report that a run writes by itself."""

import json

import pytest

from recipes import TINY, write_tiny
from report.test_page import facts_in
from running import call


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    said = call("run", write_tiny(folder), "--out", folder / "run")
    assert said.code == 0, said.err
    return folder / "run"


def test_a_run_writes_its_report(run):
    (facts,) = facts_in((run / "report.html").read_text())["runs"]
    assert (facts["status"], facts["cost"]["steps"]) == ("passed", 24)
    assert [span["seq_len"] for span in facts["spans"]] == [32, 64, 64]
    assert [sample["prompt"] for sample in facts["samples"]] == ["Once"]
    assert {source["name"] for source in facts["data"]} == {"stories", "math"}
    assert sum(source["tokens_read"] for source in facts["data"]) == facts["cost"]["tokens"]
    assert facts["model"]["parameters"] > 0 and facts["checksums"][0]["sha256"]


def test_a_failed_gate_is_reported(tmp_path):
    hard = "    gate: {default_rules: false, rules: [{metric: val/loss, at_most: 0.01}]}\n"
    recipe = write_tiny(tmp_path, TINY.replace("  - name: two\n", f"{hard}  - name: two\n"))
    assert call("run", recipe, "--out", tmp_path / "run").code == 3
    (facts,) = facts_in((tmp_path / "run" / "report.html").read_text())["runs"]
    assert facts["status"] == "failed" and "loss of all held-out text" in facts["sentence"]


def test_every_format(run, tmp_path):
    before = (run / "report.html").read_text()
    said = call("report", run, "--json")
    assert json.loads(said.out)["path"] == str(run / "report.html")
    assert (
        facts_in(before)["runs"][0]["checksums"][:1]
        == (facts_in((run / "report.html").read_text())["runs"][0]["checksums"][:1])
    )
    for format in ("md", "json", "card"):
        assert call("report", run, "--format", format, "-o", tmp_path / format).code == 0
    assert "passed" in (tmp_path / "md").read_text()
    assert json.loads((tmp_path / "json").read_text())["kind"] == "runs"
    assert (tmp_path / "card").read_text().startswith("---\nlibrary_name: yxanul")


def test_what_a_report_cannot_be_made_of(run, tmp_path):
    assert "not a run" in call("report", tmp_path).error
    assert "of one run" in call("report", run, run, "--format", "card").error


def test_the_plan_as_a_page(run, tmp_path):
    recipe = write_tiny(tmp_path)
    said = call("show", recipe, "--html", tmp_path / "plan.html", "--json")
    assert json.loads(said.out)["path"] == str(tmp_path / "plan.html")
    facts = facts_in((tmp_path / "plan.html").read_text())
    (plan,) = facts["runs"]
    assert facts["kind"] == "plan" and plan["totals"] == {
        "tokens": 6144, "sequences": 124, "steps": 24,
    }  # fmt: skip
    shares = plan["curves"]["series"]["mix/math"]
    assert shares["high"][-1] - shares["low"][-1] == pytest.approx(0.75)
    assert "yxanul report" in call("show", run, "--html", tmp_path / "x.html").error
