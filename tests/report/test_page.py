"""The page as a file: its size, its escaping, and that it names no other host."""

import html
import json
import re
import shutil
import subprocess

import pytest

from repo.test_layers import SRC
from report.made_runs import entry, make_run, step_line, whole_run
from sessions import RecordingUi
from yxanul.base.run_folder import RunFolder
from yxanul.report.facts import RunReader, report_facts
from yxanul.report.markdown import as_markdown, escaped, model_card
from yxanul.report.page import render_report, write_report

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\u2028`|"


def facts_in(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def hostile_run(folder):
    lines = [step_line(1), {"step": 1, "samples": f"Once {HOSTILE}"}]
    return make_run(folder / "run", [entry(HOSTILE, 0, 1)], lines, description=HOSTILE)


def test_ten_thousand_steps_of_many_metrics_stay_under_500_kb(tmp_path):
    steps = 10_000
    by_layer = {f"activations/{n}/rms": n + 0.123456 for n in range(28)}
    by_layer |= {f"update_ratio/{n}": n + 0.123456 for n in range(28)}
    others = {f"weights/group{n}/mean": n * 0.123456 for n in range(80)}

    def lines():
        for step in range(1, steps + 1):
            yield step_line(step)
            if step % 100 == 0:
                yield {"step": step} | {name: value / step for name, value in by_layer.items()}
                yield {"step": step} | {name: value * step for name, value in others.items()}
                yield {"step": step, "val/one/bits_per_byte": 2.5, "samples": "Once " * 200}

    run = make_run(tmp_path / "run", [entry("one", 0, steps)], lines())
    page = render_report([RunReader(run)])
    assert 100_000 < len(page.encode()) < 500_000
    assert facts_in(page)["runs"][0]["cost"]["steps"] == steps


def test_what_comes_from_a_run_ends_no_script(tmp_path):
    page = render_report([RunReader(hostile_run(tmp_path))])
    assert page.count("</script>") == 2 and "<!--<img" not in page and "\u2028" not in page
    assert facts_in(page)["runs"][0]["description"] == HOSTILE


def test_markdown_and_card_escape_too(tmp_path):
    report = report_facts([RunReader(hostile_run(tmp_path))])
    for text in (as_markdown(report), model_card(report["runs"][0])):
        prose = re.sub(r"^(```+)\w*\n.*?^\1$", "", text.partition("\n# ")[2], flags=re.S | re.M)
        assert "<script" not in prose.replace(r"\<", "")


@pytest.mark.parametrize("text", ["1. one", "- one", "~~one~~", "&lt;b&gt; *one*"])
def test_escaped_text_is_plain(text):
    from markdown_it import MarkdownIt

    inline = MarkdownIt("js-default").parse(escaped(text))[1]
    assert [one.type for one in inline.children] == ["text"] and inline.content
    assert MarkdownIt("js-default").render(escaped(text)) == f"<p>{html.escape(text)}</p>\n"


def test_the_card_has_metadata_that_the_hub_reads(tmp_path):
    import yaml

    run = whole_run(tmp_path / "run")
    _, header, _ = model_card(RunReader(run).facts()).split("---\n", 2)
    (result,) = yaml.safe_load(header)["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "bits_per_byte", "value": 0.8}]


def test_the_page_names_no_host_and_its_script_is_one(tmp_path):
    page = render_report([RunReader(whole_run(tmp_path / "run"))])
    assert set(re.findall(r"https?://[^\"'` )]+", page)) == {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in page and "default-src 'none'" in page
    folder = SRC / "report"
    pages = [folder / f"page.{suffix}" for suffix in ("html", "css", "js")]
    assert sum(len(path.read_text().splitlines()) for path in pages) < 1200
    if (node := shutil.which("node")) is None:
        pytest.skip("node is absent")
    subprocess.run([node, "--check", folder / "page.js"], check=True)


def test_a_report_that_cannot_be_written_is_a_warning(tmp_path):
    ui, run = RecordingUi(), whole_run(tmp_path / "run")
    (run / "report.html").mkdir()
    write_report(RunFolder(run), ui, is_running=False)
    assert len(ui.warnings) == 1
    (run / "report.html").rmdir()
    write_report(RunFolder(run), ui, is_running=False)
    assert len(ui.warnings) == 1 and facts_in((run / "report.html").read_text())


def test_a_run_that_diverged_has_a_report(tmp_path):
    """json writes NaN and infinity, which JSON does not have."""
    at_end = {"val/one/bits_per_byte": float("inf"), "val/one/loss": float("nan")}
    at_end |= {"task/blimp/accuracy": 0.5, "task/blimp/accuracy_stderr": float("nan")}
    at_end |= {"task/lambada/perplexity": float("inf")}
    failed = entry("one", 0, 2, "failed", at_end=at_end)
    failed["verdict"]["findings"][0]["measured"] = float("inf")
    lines = [step_line(1), step_line(2) | {"train/loss": None}]
    reader = RunReader(make_run(tmp_path / "run", [failed], lines).resolve())
    (stage,) = facts_in(render_report([reader]))["runs"][0]["stages"]
    assert stage["domains"] == [{"name": "one", "before": 3.0, "after": None}]
    facts = report_facts([reader])
    assert json.dumps(facts, allow_nan=False)
    assert "failed" in as_markdown(facts) and model_card(facts["runs"][0])
