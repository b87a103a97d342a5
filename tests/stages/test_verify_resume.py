"""`verify-resume` says equal of what is equal, and finds what is not."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from running import call, files_of, metrics_of, newest, steps_of
from yxanul.base.run_folder import RunFolder
from yxanul.checkpoint.layout import checkpoint_path
from yxanul.checkpoint.read import read_checkpoint
from yxanul.checkpoint.write import write_checkpoint
from yxanul.stages import verify_resume as module
from yxanul.stages.verify_resume import compare


def legs_in_this_process(monkeypatch):
    """Train the pieces here: no process has to start."""

    def group(command, devices, quiet):
        given = command[command.index("train") :]
        return SimpleNamespace(run=lambda: done(call(*given)))

    def done(said):
        assert said.code == 0, said.err

    monkeypatch.setattr(module, "WorkerGroup", group)


def content(out):
    return {
        name: content
        for name, content in files_of(out).items()
        if not name.endswith(("verify-resume.json", ".lock"))
    }


def test_equal_is_said_and_the_run_stays(recipe, straight, monkeypatch):
    legs_in_this_process(monkeypatch)
    before = content(straight)
    said = call("verify-resume", recipe, "--steps", 9, "--stops", 2, "--out", straight)
    assert said.code == 0, said.err
    assert said.out.startswith("bit-identical: ") and " after 9 steps" in said.out
    proof = json.loads((straight / "verify-resume.json").read_text())
    assert proof["equal"] and proof["steps"] == 9 and len(proof["stops"]) == 2
    assert all(0 < stop < 9 for stop in proof["stops"])
    tensors, _ = read_checkpoint(newest(straight))
    assert proof["tensors"] == sum(map(len, tensors.values()))
    assert proof["values"] > 9 * 10
    assert content(straight) == before


@pytest.mark.slow
def test_more_steps_than_the_recipe_has_are_all_of_them(recipe, straight, monkeypatch):
    legs_in_this_process(monkeypatch)
    said = call("verify-resume", recipe, "--steps", 500, "--stops", 1, "--json", "--out", straight)
    assert said.code == 0, said.err
    proof = json.loads(said.out)
    assert proof["equal"] and proof["steps"] == 24 and proof["stops"][0] < 24


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_in_processes_of_their_own(recipe, tmp_path, devices):
    """And of a recipe whose text is not there yet."""
    out = tmp_path / "run"
    said = call("verify-resume", recipe, "--steps", 12, "--devices", devices, "--out", out)
    assert said.code == 0, said.err
    assert said.out.startswith("bit-identical: ")
    assert not (out / "checkpoints").exists() and not (out / "verify-resume").exists()


def test_a_run_that_resumes_wrongly_is_found(recipe, straight, monkeypatch):
    """The moments of the optimizer are forgotten at each stop."""
    from yxanul.stages import session

    legs_in_this_process(monkeypatch)
    load = session._load_newest

    def forgetful(run, model, ui):
        saved = load(run, model, ui)
        if saved is not None:
            for tensor in saved.optimizer_state.tensors.values():
                tensor.zero_()
        return saved

    monkeypatch.setattr(session, "_load_newest", forgetful)
    said = call("verify-resume", recipe, "--steps", 12, "--stops", 1, "--out", straight)
    assert said.code == 2
    assert "differs" in said.error
    assert "both runs" in said.error
    left = straight / "verify-resume"
    assert steps_of(left / "straight")[-1] == steps_of(left / "stopped")[-1] == 12
    assert not json.loads((straight / "verify-resume.json").read_text())["equal"]
    monkeypatch.setattr(session, "_load_newest", load)  # and it is no matter for the next proof
    again = ("--steps", 5, "--stops", 1)
    assert call("verify-resume", recipe, *again, "--out", straight).code == 0
    assert not left.exists()


@pytest.fixture
def pair(straight, tmp_path):
    """A run and its copy."""
    return RunFolder(straight), RunFolder(shutil.copytree(straight, tmp_path / "copy"))


def test_a_run_equals_its_copy(pair):
    assert compare(*pair, 24, [3]).differences == []


def rewrite(run, change):
    """Change what the last checkpoint holds; its manifest is in order."""
    path = checkpoint_path(run.checkpoints, 24)
    tensors, state = read_checkpoint(path)
    change(tensors, state)
    shutil.rmtree(path)
    write_checkpoint(run.checkpoints, 24, tensors, state)


def flip_the_last_bit(tensors, state):
    name = next(iter(tensors["model"]))
    tensors["model"][name].view(torch.int32).view(-1)[-1] ^= 1


def lose_a_moment(tensors, state):
    tensors["optimizer"].popitem()


def move_a_cursor(tensors, state):
    state["progress"]["cursor"]["positions"]["stories"] += 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (flip_the_last_bit, "model: "),
        (lose_a_moment, "optimizer: "),
        (move_a_cursor, "state differs in progress"),
    ],
)
def test_what_differs_is_named(pair, change, named):
    rewrite(pair[1], change)
    (difference,) = compare(*pair, 24, [3]).differences
    assert difference.startswith(named)
    assert load_file(checkpoint_path(pair[1].checkpoints, 24) / "model.safetensors")


def test_metrics_that_differ_are_named(pair):
    run = pair[1]
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    lines[5]["train/loss"] = (lines[5].get("train/loss") or 1.0) * (1 + 1e-15) + 1e-15
    lines[7]["perf/data_time"] = 1e9  # is timed: no difference
    lines[-1] = {"step": 24, "alert": {"name": "starvation"}}  # so is what it says
    lines.append({"step": 24})
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))
    differences = compare(*pair, 24, [3]).differences
    assert differences == [
        f"metrics of step {lines[5]['step']} differ",
        f"{len(lines) - 1} lines of metrics, resumed run {len(lines) - 2}",
    ]
    assert len(metrics_of(run.path)) == len(lines) - 2
