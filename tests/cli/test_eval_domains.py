"""`yxanul eval --domains`: the table, the worst documents, JSON, mistakes."""

import json
import shutil

import pytest
from rich.cells import cell_len

from running import call, step_of


@pytest.fixture(scope="module")
def run(recipe, prepared):
    """A run of two domains after two steps."""
    said = call("train", recipe, "--stop-after", 2, "--out", prepared)
    assert step_of(prepared) == 2, said.err
    return prepared


@pytest.fixture(scope="module")
def facts(run):
    said = call("eval", run, "--domains", "--json")
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_scores_are_those_without_documents(run, facts):
    plain = json.loads(call("eval", run, "--json").out)
    for name, score in plain["texts"].items():
        assert facts["texts"][name].items() >= score.items()
    assert facts["metrics"] == plain["metrics"]
    for name, own in facts["texts"].items():
        assert own["surprise_ratio"] == facts["metrics"][f"val/{name}/surprise_ratio"]
        assert {"strength", "mix_advice"} < set(own)


def test_text_of_other_runs_in_the_same_folder_is_left_alone(run, facts):
    shutil.copytree(run / "data" / "math", run / "data" / "other")
    said = call("eval", run, "--json")
    shutil.rmtree(run / "data" / "other")
    assert said.code == 0, said.err
    assert json.loads(said.out)["texts"].keys() == {"stories", "math"}


def test_the_worst_documents_come_with_their_text(run, facts):
    for name, own in facts["texts"].items():
        held_out = (run / "data" / name / "held-out.txt").read_text()
        bits = [one["bits_per_byte"] for one in own["worst"]]
        assert len(bits) == 3 < own["documents"] and bits == sorted(bits, reverse=True)
        assert all(one["text"] in held_out for one in own["worst"])
        assert all(len(one["text"].encode()) == one["bytes"] for one in own["worst"])


def test_the_table_and_one_line_for_each_of_the_worst(run, facts, monkeypatch, tmp_path):
    text = tmp_path / "story.txt"
    text.write_text("Once \x1b[31m\tupon\n\u6f22\u5b57 a time there was. " * 20)
    monkeypatch.setenv("COLUMNS", "50")
    said = call("eval", run, "--domains", "--text", text, "--worst", 1)
    assert said.code == 0, said.err
    title, header, *rows = said.out.splitlines()
    assert title == "step 2, context 64, stride 32"
    assert header.split() == [
        "text", "loss", "perplexity", "bits/byte", "tokens", "documents", "surprise",
    ]  # fmt: skip
    assert [row.split()[0] for row in rows[:4]] == ["math", "stories", str(text), "all:"]
    assert rows[0].split()[1] == f"{facts['texts']['math']['loss']:.4f}"
    assert "variance of the losses" in rows[3]
    worst = rows[4:]
    assert worst[0::3] == [""] * 3 and len(worst) == 9
    assert worst[1].startswith("worst documents of math")
    assert all(cell_len(line) <= 50 for line in worst[2::3])
    assert worst[8].endswith("\u2026") and "Once \\x1b[31m upon \u6f22\u5b57 a time" in worst[8]


def test_no_documents_are_listed_if_none_are_asked_for(run):
    said = call("eval", run, "--domains", "--worst", 0)
    assert said.code == 0 and len(said.out.splitlines()) == 5


MISTAKES = {
    "worst alone": (("--worst", 2), "--worst needs --domains"),
    "tasks": (("--domains", "--tasks", "blimp"), "with tasks"),
    "file": (("--domains", "--text", "nowhere.txt"), "nowhere.txt"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_one_line(kind, run):
    options, message = MISTAKES[kind]
    said = call("eval", run, *options)
    assert said.code == 2 and message in said.error
