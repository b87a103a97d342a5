"""`yxanul eval` of tasks: tables, JSON, samples, comparisons, mistakes."""

import gzip
import json
import shutil

import pytest

from recipes import write_tiny
from running import call, step_of
from yxanul.base.files import read_json
from yxanul.eval.sandbox import isolation_problem
from yxanul.report.facts import RunReader
from yxanul.text.benchmark_rows import find_benchmark

CHOICES = [
    {"query": f"Question: What is {n} + 1?", "choices": [str(n + 1), str(n)], "gold": n % 2}
    for n in range(12)
]
SUMS = [{"question": f"{n} + {n}?", "answer": f"Add.\n#### {2 * n}"} for n in range(9)]
TRIVIA = [{"context": f"Question: {n}?\nAnswer:", "answer": "x", "aliases": []} for n in range(3)]
PROGRAMS = [
    {"prompt": f"def f{n}():\n", "entry_point": f"f{n}", "canonical_solution": "    return 1\n",
     "test": "def check(f):\n    assert f() == 1"} for n in range(3)
]  # fmt: skip
ANSWERS = [{"context": f"{n} and {n} is", "continuation": str(2 * n)} for n in range(12)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, of 2 and of 14 steps, and a folder of tasks."""
    folder = tmp_path_factory.mktemp("tasks")
    recipe = write_tiny(folder)
    data = folder / "benchmarks"
    data.mkdir()
    (data / "arc_easy.jsonl").write_text("\n".join(map(json.dumps, CHOICES)))
    lines = "\n".join(map(json.dumps, ANSWERS)).encode()
    (data / "lambada_openai.jsonl.gz").write_bytes(gzip.compress(lines))
    (data / "bigbench_qa_wikidata.jsonl").write_bytes(lines)
    (data / "more").mkdir()
    (data / "more" / "gsm8k.jsonl").write_text("\n".join(map(json.dumps, SUMS)))
    (folder / "generated").mkdir()
    files = {
        "gsm8k_test": SUMS[:3], "gsm8k_train": SUMS[3:], "triviaqa": TRIVIA, "HumanEval": PROGRAMS,
        "arc_easy": CHOICES,
    }  # fmt: skip
    for name, rows in files.items():
        (folder / "generated" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert call("prepare", recipe, "--out", folder / "one").code == 0
    shutil.copytree(folder / "one", folder / "two")
    for name, steps in (("one", 2), ("two", 14)):
        said = call("train", recipe, "--stop-after", steps, "--out", folder / name)
        assert step_of(folder / name) == steps, said.err
    return folder


def test_a_table_and_the_same_as_json(runs):
    command = ("eval", runs / "one", "--tasks", "arc_easy,lambada_openai", "--seq-len", 64)
    said = call(*command, "--task-data", runs / "benchmarks")
    assert said.code == 0, said.err
    title, header, *rows = said.out.splitlines()
    assert title.endswith("step 2, context 64")
    assert header.split() == ["task", "metric", "value", "error", "chance", "documents"]
    assert [row.split()[:2] for row in rows] == [
        ["arc_easy", "acc"], ["arc_easy", "acc_norm"],
        ["lambada_openai", "acc"], ["lambada_openai", "perplexity"],
    ]  # fmt: skip
    facts = json.loads(call(*command, "--task-data", runs / "benchmarks", "--json").out)
    arc = facts["tasks"]["arc_easy"]
    kept = json.loads((runs / "one" / "evaluations" / "tasks-00000002.json").read_text())
    assert kept["tasks"] == facts["tasks"]
    assert set(arc) == {
        "accuracy", "stderr", "accuracy_norm", "accuracy_norm_stderr", "documents", "chance",
    }  # fmt: skip
    assert (arc["documents"], arc["chance"], facts["step"]) == (12, 0.5, 2)
    assert f"{arc['accuracy']:.4f}" == rows[0].split()[2]


def test_core_is_kept_beside_ordinary_tasks(runs):
    options = ("--task-data", runs / "benchmarks", "--seq-len", 64)
    for asked in (("--tasks", "arc_easy"), ("--suite", "core"), ("--tasks", "lambada_openai")):
        said = call("eval", runs / "two", *asked, *options)
        assert said.code == 0, said.err
    files = {path.name: read_json(path) for path in (runs / "two" / "evaluations").glob("*.json")}
    assert set(files["tasks-00000014.json"]["tasks"]) == {"arc_easy", "lambada_openai"}
    core = files["core-00000014.json"]
    assert "arc_easy" in core["tasks"] and core["core"] is None
    rows = RunReader(runs / "two").facts()["tasks"]
    assert {row["task"] for row in rows} >= {"arc_easy", "lambada_openai", "core/arc_easy"}


def test_results_of_fewer_documents_or_another_context_replace_no_others(runs):
    options = ("--tasks", "arc_easy", "--task-data", runs / "benchmarks")
    path, kept = runs / "one" / "evaluations" / "tasks-00000002.json", []
    path.unlink(missing_ok=True)
    for more in (("--limit", 1), (), ("--limit", 2), ("--seq-len", 16)):
        said = call("eval", runs / "one", *options, *more)
        assert said.code == 0, said.err
        kept.append(json.loads(path.read_text(), parse_constant=pytest.fail)["tasks"]["arc_easy"])
    assert [one["documents"] for one in kept] == [1, 12, 12, 12]
    assert kept[0]["stderr"] is None and kept[3] == kept[1]
    other = read_json(path.with_name("tasks-00000002-context-16.json"))
    assert (other["seq_len"], list(other["tasks"])) == (16, ["arc_easy"])


def test_results_are_kept_though_samples_cannot_be(runs, tmp_path):
    command = ("eval", runs / "one", "--tasks", "arc_easy", "--task-data", runs / "benchmarks")
    said = call(*command, "--samples", tmp_path)
    assert said.code == 2 and "--samples is a folder" in said.err


def test_too_few_documents_for_the_shots_are_found_before_any_work(runs, tmp_path):
    task = "eval.tasks=[{name: arc_easy, limit: 2, num_fewshot: 5}]"
    options = (task, f"eval.task_data={runs / 'benchmarks'}", "--out", tmp_path / "run")
    said = call("run", write_tiny(tmp_path), *options)
    assert said.code == 2 and "arc_easy has too few documents for 5 shots" in said.err
    assert not (tmp_path / "run").exists()


def test_samples_have_every_request(runs, tmp_path):
    file = tmp_path / "samples.jsonl"
    options = ("--task-data", runs / "benchmarks", "--limit", 4, "--num-fewshot", 1)
    said = call("eval", runs / "one", "--tasks", "arc_easy", "--samples", file, *options)
    assert said.code == 0, said.err
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 4 * 2
    assert sum(line["is_gold"] for line in lines) == 4
    assert all(line["context"].count("Question:") == 2 for line in lines)
    assert {line["continuation"] for line in lines} <= {str(n) for n in range(13)}
    assert all(line["log_likelihood"] < 0 and line["task"] == "arc_easy" for line in lines)


def test_two_runs_side_by_side(runs):
    command = ("eval", runs / "one", runs / "two", "--compare", "--seq-len", 64)
    command += ("--tasks", "arc_easy,lambada_openai", "--task-data", runs / "benchmarks")
    facts = json.loads(call(*command, "--json").out)
    assert [model["step"] for model in facts["models"]] == [2, 14]
    values = [model["tasks"]["lambada_openai"]["perplexity"] for model in facts["models"]]
    found = facts["differences"]["lambada_openai"]["perplexity"]
    assert found["difference"] == pytest.approx(values[1] - values[0])
    assert found["low"] < found["difference"] < found["high"]
    (row,) = [one for one in call(*command).out.splitlines() if "perplexity" in one]
    assert row.endswith("*") == (found["low"] > 0 or found["high"] < 0)


def test_the_recipe_may_name_the_folder(runs):
    recipe = runs / "one" / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("\neval:\n", f"\neval:\n  task_data: {runs / 'benchmarks'}\n"))
    said = call("eval", runs / "one", "--tasks", "arc_easy", "--json", "--seq-len", 64)
    recipe.write_text(text)
    assert said.code == 0, said.err


def test_a_suite_names_what_is_missing(runs):
    data, short = runs / "benchmarks", ("--seq-len", 64, "--json")
    said = call("eval", runs / "one", "--suite", "small", "--task-data", data, *short)
    facts = json.loads(said.out)
    known = {"arc_easy", "lambada_openai", "bigbench_qa_wikidata", "gsm8k_gold"}
    assert set(facts["tasks"]) == known
    assert facts["missing"] == ["blimp", "sciq", "arithmetic", "humaneval_gold"]
    assert "blimp, sciq" in said.warnings[0]


def test_core_without_all_its_tasks_is_none(runs):
    command = ("eval", runs / "one", "--suite", "core", "--task-data", runs / "benchmarks")
    said = call(*command, "--json")
    assert said.code == 0, said.err
    facts = json.loads(said.out)
    assert facts["core"] is None and len(facts["missing"]) == 19
    assert set(facts["centered"]) == {"arc_easy", "lambada_openai", "bigbench_qa_wikidata"}
    assert facts["mean_of_present"] == pytest.approx(sum(facts["centered"].values()) / 3)
    last = call(*command).out.splitlines()[-1]
    assert "this is not CORE" in last and "squad" in last


def test_generated_answers_stand_beside_the_other_tasks(runs, tmp_path):
    file = tmp_path / "samples.jsonl"
    options = ("--task-data", runs / "generated", "--seq-len", 64, "--limit", 2)
    command = ("eval", runs / "one", "--tasks", "gsm8k,arc_easy,triviaqa", *options)
    said = call(*command, "--samples", file)
    assert said.code == 0, said.err
    rows = [row.split() for row in said.out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["gsm8k"] * 2 + ["arc_easy"] * 2 + ["triviaqa"] * 2
    assert [row[1] for row in rows] == ["exact", "exact", "acc", "acc_norm", "exact", "exact"]
    assert {row[-1] for row in rows} == {"2"}
    assert "gsm8k: 2 of 2 prompts" in said.warnings[0]
    facts = json.loads(call(*command, "--json").out)["tasks"]
    assert facts["gsm8k"].items() >= {"documents": 2, "chance": 0.0, "cut_prompts": 2}.items()
    assert {"exact_match_flexible", "exact_match_flexible_stderr"} < set(facts["gsm8k"])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    sums = [line for line in lines if line["task"] == "gsm8k"]
    assert [line["document"] for line in sums] == [0, 1]
    assert all(line["prompt"].count("Question:") == 6 for line in sums)
    assert all({"answer", "metrics", "cut_tokens"} < set(line) for line in sums)
    trivia = [line["prompt"] for line in lines if line["task"] == "triviaqa"]
    assert len(trivia) == 2 and set(trivia) < {row["context"] for row in TRIVIA}


def test_programs_run_if_the_user_allows_it(runs, tmp_path):
    if isolation_problem():
        pytest.skip(f"no namespaces on this machine: {isolation_problem()}")
    file = tmp_path / "samples.jsonl"
    command = ("eval", runs / "one", "--tasks", "humaneval", "--task-data", runs / "generated")
    said = call(*command, "--allow-code", "--samples", file, "--json", "--seq-len", 64)
    assert said.code == 0, said.err
    facts = json.loads(said.out)["tasks"]["humaneval"]
    assert facts["documents"] == 3 and 0 <= facts["pass@1"] <= 1
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    passed = [line["outcome"]["status"] == "passed" for line in lines]
    assert passed == [line["metrics"]["pass@1"] == 1 for line in lines]


def test_programs_are_refused_before_anything_is_computed(runs):
    before = sorted((runs / "two").rglob("*"))
    options = ("--task-data", runs / "generated", "--seq-len", 64)
    for tasks in (("--tasks", "arc_easy,humaneval"), ("--suite", "code")):
        said = call("eval", runs / "two", *tasks, *options)
        assert said.code == 2
        assert "runs programs" in said.error and "--allow-code" in said.error
    assert sorted((runs / "two").rglob("*")) == before


def test_the_suite_of_all_leaves_programs_out_and_says_so(runs):
    options = ("--task-data", runs / "generated", "--seq-len", 64, "--json")
    said = call("eval", runs / "one", "--suite", "all", *options)
    assert said.code == 0, said.err
    tasks = json.loads(said.out)["tasks"]
    assert set(tasks) == {"arc_easy", "gsm8k_gold", "humaneval_gold", "gsm8k", "triviaqa"}
    assert said.warnings[0].endswith("humaneval, mbpp")


MISTAKES = {
    "unknown": (("--tasks", "arc_esy"), "'arc_easy'?"),
    "none": (("--tasks", ","), "no task"),
    "missing": (("--tasks", "piqa"), "has no test set of piqa; expected piqa as .jsonl"),
    "shots of gsm8k": (
        ("--tasks", "gsm8k"),
        "expected gsm8k_train",
    ),
    "suite": (("--suite", "smal"), "did you mean 'small'"),
    "both": (("--suite", "small", "--tasks", "piqa"), "exclude each other"),
    "text": (("--suite", "small", "--text", "a.txt"), "--domains and --worst"),
    "long": (("--tasks", "arc_easy", "--seq-len", "999"), "max_seq_len; got 999"),
    "shots": (("--tasks", "arc_easy", "--num-fewshot", "12"), "for 12 shots"),
    "limit": (("--suite", "core", "--limit", "9"), "for 10 shots; got 9"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes_are_one_line(kind, runs):
    options, message = MISTAKES[kind]
    said = call("eval", runs / "one", *options, "--task-data", runs / "benchmarks")
    assert said.code == 2
    assert message in said.error


def test_a_folder_without_any_test_set_is_named_with_what_it_lacks(runs, tmp_path):
    said = call("eval", runs / "one", "--suite", "small", "--task-data", tmp_path)
    assert said.code == 2
    assert f"no test sets in {tmp_path}" in said.error and "gsm8k_gold" in said.error


def test_options_of_tasks_need_tasks(runs):
    said = call("eval", runs / "one", "--limit", 3).error
    assert "--limit: no task is given; add --tasks NAME" in said and "--samples" not in said
    assert "--tasks NAME" in call("eval", runs / "one", "--allow-code").error
    assert "expected two runs" in call("eval", runs / "one", "--compare").error
    assert "or two with --compare" in call("eval", runs / "one", runs / "two").error
    assert "CORE needs" in call("eval", runs / "one", "--suite", "core").error


def test_models_compared_read_one_folder_that_a_recipe_may_name(runs, tmp_path):
    one = shutil.copytree(runs / "one", tmp_path / "one")
    recipe = one / "recipe.yaml"
    folder = f"eval:\n  task_data: {runs / 'benchmarks'}\n"
    recipe.write_text(recipe.read_text().replace("eval:\n", folder, 1))
    command = ("--compare", "--tasks", "arc_easy", "--seq-len", 64, "--json")
    said = call("eval", one, runs / "two", *command)
    assert said.code == 0, said.err
    assert set(json.loads(said.out)["differences"]) == {"arc_easy"}


def test_a_file_of_the_sets_own_name_goes_first(tmp_path):
    for name in ("mbpp", "mbpp_prompt"):
        (tmp_path / f"{name}.jsonl").write_text("{}")
    assert find_benchmark("mbpp_prompt", tmp_path) == tmp_path / "mbpp_prompt.jsonl"
