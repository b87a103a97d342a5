"""The verbs as people call them: their output, their JSON, their errors and exit codes."""

import json

import pytest

from recipes import write_tiny
from running import call, series
from yxanul.monitor import peak_flops
from yxanul.plan import doctor


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the tiny recipe, and what `run --json` said."""
    folder = tmp_path_factory.mktemp("verbs")
    result = call("run", write_tiny(folder), "--out", folder / "run", "--json")
    assert result.code == 0, result.err
    return folder / "run", json.loads(result.out)


def test_run_says_what_came_out(finished):
    _, facts = finished
    assert facts["steps"] == 14 + 10
    assert [stage["name"] for stage in facts["stages"]] == ["one", "two"]
    assert all(stage["verdict"]["passed"] for stage in facts["stages"])
    assert set(facts["held_out"]) == {"stories", "math"}
    assert all(domain["synthetic"] for domain in facts["held_out"].values())
    assert facts["samples"][0].startswith("Once")


def test_a_run_folder_has_its_layout(finished):
    run, _ = finished
    for name in (
        "recipe.yaml",
        "environment.json",
        "tokenizer.json",
        "metrics.jsonl",
        "ledger.json",
    ):
        assert (run / name).is_file(), name
    checkpoints = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert checkpoints[-1] == "step-00000024" and len(checkpoints) <= 3
    files = {path.name for path in (run / "checkpoints" / checkpoints[-1]).iterdir()}
    assert files == {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}


def test_every_step_is_in_the_metrics_once(finished):
    run, _ = finished
    assert series(run, "step") == list(range(1, 25))


def test_a_finished_run_is_not_trained_again(finished):
    run, _ = finished
    before = (run / "metrics.jsonl").read_bytes()
    result = call("run", run.parent / "tiny.yaml", "--out", run, "--json")
    assert result.code == 0, result.err
    assert (run / "metrics.jsonl").read_bytes() == before


def test_eval_by_domain_and_of_a_file(finished, tmp_path):
    run, facts = finished
    by_domain = json.loads(call("eval", run, "--checkpoint", "last", "--json").out)["texts"]
    assert by_domain["stories"]["tokens"] == facts["held_out"]["stories"]["tokens"]
    assert by_domain["stories"]["loss"] == pytest.approx(
        facts["held_out"]["stories"]["loss"], rel=1e-4
    )
    text = tmp_path / "held-out.txt"
    text.write_bytes((run / "data" / "stories" / "held-out.txt").read_bytes())
    result = call("eval", run, "--checkpoint", "last", "--text", text, "--json")
    (score,) = json.loads(result.out)["texts"].values()
    assert score["tokens"] == by_domain["stories"]["tokens"]
    assert score["bytes"] == by_domain["stories"]["bytes"]
    assert score["loss"] == pytest.approx(by_domain["stories"]["loss"], rel=1e-5)


def test_generate(finished):
    run, _ = finished
    plain = call("generate", run, "Once", "--max-tokens", 5, "--seed", 3)
    assert plain.code == 0 and plain.out.startswith("Once")
    again = call("generate", run, "--max-tokens", 5, "--seed", 3, stdin="Once")
    assert again.out == plain.out
    result = call("generate", run, "Once", "--max-tokens", 5, "--samples", 3, "--json")
    samples = json.loads(result.out)["samples"]
    assert len(samples) == 3
    assert {sample["finish_reason"] for sample in samples} <= {"length", "stop", "end_of_text"}


def test_show_a_recipe_walks_its_plan(tmp_path):
    recipe = write_tiny(tmp_path)
    facts = json.loads(call("show", recipe, "--json").out)
    assert facts["total_steps"] == 24
    assert facts["total_tokens"] == 24 * 256
    assert facts["total_sequences"] == 7 * 8 + 7 * 4 + 10 * 4
    assert facts["phases"][1]["clip"] == 0.7
    assert facts["recipe"]["optim"]["peak_lr"] == 0.01
    assert call("show", recipe).code == 0


def test_show_a_preset_is_exact():
    facts = json.loads(call("show", "yxanul-177m", "--json").out)
    assert facts["parameters"] == 177_230_720
    assert facts["flops_per_token"] > 6 * 177_230_720
    assert "177,230,720" in call("show", "yxanul-177m").out


def test_show_a_run(finished):
    run, _ = finished
    facts = json.loads(call("show", run, "--json").out)
    assert [stage["status"] for stage in facts["stages"]] == ["passed", "passed"]


def test_a_prompt_that_is_too_long_costs_its_sample_only(tmp_path):
    prompts = f"eval.sample_prompts=[Once, {'x' * 99}]"
    short = ("stages.0.budget={steps: 3}", "stages.1.budget={steps: 3}")
    result = call("run", write_tiny(tmp_path), *short, prompts, "--out", tmp_path / "r", "--json")
    assert result.code == 0, result.err
    assert "no sample: " in result.err
    (sample,) = json.loads(result.out)["samples"]
    assert sample.startswith("Once")


def test_prepare_reports_by_source(tmp_path):
    result = call("prepare", write_tiny(tmp_path), "--out", tmp_path / "run", "--json")
    facts = json.loads(result.out)
    assert facts["documents"] == {"stories": 120, "math": 120}
    assert facts["tokens"]["math"] == facts["bytes"]["math"] + 120
    assert facts["dropped"] == {"stories": {}, "math": {}}
    trained = call("train", tmp_path / "tiny.yaml", "--out", tmp_path / "run", "--json")
    assert json.loads(trained.out)["steps"] == 24


def test_train_without_shards_says_what_to_do(tmp_path):
    result = call("train", write_tiny(tmp_path), "--out", tmp_path / "run")
    assert result.code == 2
    assert "yxanul prepare" in result.err and result.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_failed_gate_has_its_code_and_goes_on_afterwards(tmp_path):
    recipe, out = write_tiny(tmp_path), tmp_path / "run"
    hard = "stages.0.gate.rules=[{metric: val/stories/bits_per_byte, at_most: 0.01}]"
    failed = call("run", recipe, hard, "--out", out)
    assert failed.code == 3
    assert "val/stories/bits_per_byte" in failed.err and "stages.0.gate" in failed.err
    again = call("run", recipe, hard, "--out", out, "--json")
    assert again.code == 3
    assert not json.loads(again.out)["stages"][0]["verdict"]["passed"]
    passed = call("run", recipe, "--out", out, "--json")
    assert passed.code == 0, passed.err
    assert json.loads(passed.out)["steps"] == 24
    assert "recipe has changed" in passed.err


def test_another_model_on_the_same_folder_is_refused(finished):
    run, _ = finished
    result = call("run", run.parent / "tiny.yaml", "model.depth=3", "--out", run)
    assert result.code == 2
    assert "model.depth: 2 -> 3" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "quikstart"], "did you mean 'quickstart'"),
        (["run", "quickstart", "optim.peak_rat=1"], "'peak_lr'?"),
        (["eval", "nowhere"], "nowhere"),
        (["generate", "nowhere", "x"], "nowhere"),
        (["show", "yxanul-178m"], "yxanul-178m"),
        (["run", "own-text", "data.sources.mine.path=no/such/folder"], "no/such/folder"),
    ],
)
def test_mistakes_are_one_line_and_code_2(tmp_path, arguments, said):
    result = call(*arguments, cwd=tmp_path)
    assert result.code == 2
    assert said in result.err and "Traceback" not in result.err
    assert result.out == ""


def test_schema_is_json():
    assert json.loads(call("schema").out)["title"] == "Recipe"


def test_doctor_measures(monkeypatch):
    monkeypatch.setattr(peak_flops, "CPU_SIZE", 64)
    monkeypatch.setattr(doctor, "ATTENTION", {"rows of 16": (2, 16, None, False)})
    facts = json.loads(call("doctor", "--no-compile", "--json").out)
    assert facts["matmul (TFLOP/s)"]["fp32"] > 0
    assert facts["packages"]["torch"] and facts["advice"]
    assert any(title == "rows of 16" for section in facts.values() for title in section)
