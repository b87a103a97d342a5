"""The page of metrics, and what a run writes."""

import json
import re
from pathlib import Path

from running import call
from yxanul.monitor.config import Cadences

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
ROWS = re.findall(r"^\| `(\S+)` \| .+ \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
"""(name, when it is measured) of every row of the page's table."""
PLACEHOLDERS = {
    "group": "embedding|attention|ffn|norms|head|first|middle|last",
    "part": "embedding|first|middle|last|final_norm",
    "figure": "mean|std|max|min",
    "layer": "[0-9]+",
}
"""Regular expressions of what stands for the words in braces."""
MISSING = {"fp8/amax/{part}", "fp8/scale/{part}", "perf/task_share"}
"""Metrics that the run below has no reason to write."""


def pattern(name):
    """Return the regular expression of a name with words in braces."""
    words = {word: f"({choice})" for word, choice in PLACEHOLDERS.items()}
    return re.escape(name).replace(r"\{", "{").replace(r"\}", "}").format(**words)


def test_every_cadence_is_of_metrics():
    named = {when.removeprefix("`monitor.every.").rstrip("`") for _, when in ROWS}
    assert set(Cadences.model_fields) <= named | {"histograms"}


def test_names_are_those_that_dashboards_know():
    assert len(ROWS) > 90
    for name, _ in ROWS:
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


def test_a_run_writes_every_metric_of_the_page_and_no_other(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert call("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run").code == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    (last,) = [one for one in records if one["step"] == 4 and "train/loss" in one]
    names = {name for one in records for name in one} - {"step", "samples"}
    known = {name: pattern(name) for name, _ in ROWS}
    for name in names:
        assert name.startswith(("val/", "task/")) or any(
            re.fullmatch(p, name) for p in known.values()
        ), name
    for name, regex in known.items():
        assert name in MISSING or any(re.fullmatch(regex, one) for one in names), name
    assert all(value is not None for value in last.values())
    assert {"attention_entropy/2", "update_ratio/head", "train/accuracy"} <= last.keys()
