"""The table of metrics, its page, and what a run writes. Run as a script, it writes the table."""

import json
import re
from pathlib import Path

from running import call
from yxanul.monitor.config import Cadences
from yxanul.monitor.names import METRICS, PLACEHOLDERS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
MARK = "<!-- `python tests/monitor/test_names.py` writes the table. -->\n"


def table():
    rows = ["", "| metric | definition | measured |", "|---|---|---|"]
    for when, metrics in METRICS.items():
        rows += [f"| `{name}` | {meaning} | {when} |" for name, meaning in metrics.items()]
    return "\n".join(rows) + "\n"


def pattern(name):
    """Return the regular expression of a name with words in braces."""
    words = {word: f"({choice})" for word, choice in PLACEHOLDERS.items()}
    return re.escape(name).replace(r"\{", "{").replace(r"\}", "}").format(**words)


def test_the_page_has_the_table():
    page = PAGE.read_text()
    assert page.partition(MARK)[2] == table()


def test_every_cadence_is_of_metrics():
    named = {key.removeprefix("`monitor.every.").rstrip("`") for key in METRICS}
    assert set(Cadences.model_fields) <= named | {"histograms"}


def test_names_are_those_that_dashboards_know():
    for metrics in METRICS.values():
        for name in metrics:
            assert re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_]+|/\{[a-z]+\})+", name), name


RECIPE = """
tokenizer: {kind: byte}
data:
  sources: {stories: {kind: builtin, domain: stories, documents: 60}}
model: {width: 32, depth: 3, num_heads: 2, ffn_width: 64, max_seq_len: 32, head: untied}
train: {precision: fp32, batch_tokens: 256, micro_batch_size: 4}
stages: [{name: one, mix: {stories: 1.0}, budget: {steps: 4}, curriculum: [{seq_len: 32}]}]
monitor: {every: {gradients: 1, confidence: 2, weights: 2, activations: 4, attention: 4}}
eval: {max_tokens: 256, sample_prompts: [], every_steps: 100}
"""


def test_a_run_writes_every_metric_of_the_table_and_no_other(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert call("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run").code == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    (last,) = [one for one in records if one["step"] == 4 and "train/loss" in one]
    names = {name for one in records for name in one} - {"step", "samples"}
    known = {name: pattern(name) for metrics in METRICS.values() for name in metrics}
    for name in names:
        assert name.startswith(("val/", "task/")) or any(
            re.fullmatch(p, name) for p in known.values()
        ), name
    for name, regex in known.items():
        assert name in MISSING or any(re.fullmatch(regex, one) for one in names), name
    assert all(value is not None for value in last.values())
    assert {"attention_entropy/2", "update_ratio/head", "train/accuracy"} <= last.keys()


MISSING = {"fp8/amax/{part}", "fp8/scale/{part}", "perf/task_share"}
"""Metrics that this run has no reason to write."""


if __name__ == "__main__":
    before, _, _ = PAGE.read_text().partition(MARK)
    PAGE.write_text(before + MARK + table())
