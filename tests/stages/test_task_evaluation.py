"""Tasks during training and at gates: measured in time, and never felt by what is trained."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest

from recipes import TINY, write_tiny
from running import call, ledger_of, metrics_of, stage_of, stop_at, trained
from yxanul.eval import task_limit
from yxanul.eval.cached_model import CachedModel
from yxanul.eval.config import EvalSettings
from yxanul.eval.task_limit import TaskLimit
from yxanul.recipe import RecipeError, check_tree
from yxanul.recipe.source_map import parse
from yxanul.stages import callbacks
from yxanul.stages.callbacks import TaskEvaluation
from yxanul.train.trainer import Changes

QUESTIONS = [
    {"query": f"Question: What is {n} + 1?\nAnswer:", "choices": [str(n + 1), str(n)], "gold": 0}
    for n in range(40)
]
TASKS = """
  max_share: 1
  tasks: [{name: commonsense_qa, every_steps: 4, limit: 30}, {name: arc_easy, num_fewshot: 1}]
"""
RULES = (
    "rules: [{metric: val/*/perplexity, against: best, at_most: 9},"
    " {metric: task/commonsense_qa/accuracy, against: best, at_least: 0.01}],"
    " targets: [{metric: task/arc_easy/accuracy, at_least: 0.999}]"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    for name in ("arc_easy", "commonsense_qa"):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    return folder


def recipe_text(folder):
    before, _, _ = TINY.partition("rules: [")
    settings = f"task_data: {folder}\n  every_steps: 5\n  max_tokens: 128"
    return f"{before}{RULES}}}\neval:\n  {settings}{TASKS}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, folder):
    """The same run without and with tasks."""
    outs = []
    for text in (TINY.replace(', sample_prompts: ["Once"], sample_tokens: 8', ""), None):
        place = tmp_path_factory.mktemp("run")
        recipe, out = write_tiny(place, text or recipe_text(folder)), place / "out"
        assert call("prepare", recipe, "--out", out).code == 0
        shutil.copytree(out, place / "prepared")
        said = call("train", recipe, "--out", out, "--json")
        assert said.code == 0, said.err
        outs.append((recipe, out, said))
    return outs


def test_what_is_trained_is_the_same_to_the_bit(runs):
    plain, with_tasks = (trained(out) for _, out, _ in runs)
    assert with_tasks["tensors"] == plain["tensors"]
    assert with_tasks["state"]["progress"] == plain["state"]["progress"]


def test_each_has_its_cadence_and_a_gate_measures_all(runs):
    _, out, _ = runs[1]
    lines = metrics_of(out)
    measured = [
        line["step"]
        for line in lines
        if "task/commonsense_qa/accuracy" in line and "train/loss" not in line
    ]
    stages = ledger_of(out)["stages"]
    first, second = (entry["steps"] for entry in stages)
    expected = [4, 8, 12, first, *range(first + 4, first + second, 4), first + second]
    assert measured == expected
    for entry in stages:
        assert entry["at_end"]["task/commonsense_qa/accuracy_stderr"] > 0
        assert 0 <= entry["at_end"]["task/arc_easy/accuracy_norm"] <= 1


def test_the_ledger_has_the_interval_and_a_target_fails_nothing(runs):
    _, out, said = runs[1]
    *_, target = stage_of(out, 1)["verdict"]["findings"]
    assert target["is_target"] and not target["passed"]
    low, high = target["interval"]
    assert 0 <= low <= target["measured"] <= high <= 1
    assert "target task/arc_easy/accuracy: " in said.err
    shown = call("show", out).out
    assert "  task/commonsense_qa/accuracy: " in shown and " +- " in shown


def test_a_gate_that_was_interrupted_scores_only_what_is_missing(runs, tmp_path, monkeypatch):
    recipe, whole, _ = runs[1]
    out = shutil.copytree(whole.parent / "prepared", tmp_path / "run")
    stop_at(recipe, out, monkeypatch, 13)
    evaluations = out / "evaluations"
    assert not evaluations.exists()  # between gates nothing is kept
    score, kept = CachedModel.score, []

    def die_in_the_second(self, requests, bar):
        if self._folder is not None and len(kept) == 1:
            raise KeyboardInterrupt
        kept.append(self._folder)
        return score(self, requests, bar)

    with monkeypatch.context() as patch:
        patch.setattr(CachedModel, "score", die_in_the_second)
        assert call("train", recipe, "--out", out).code != 0
    (file,) = evaluations.glob("*/*.jsonl")
    before = file.read_text()
    assert call("train", recipe, "--out", out).code == 0
    assert file.read_text() == before
    assert trained(out)["tensors"] == trained(whole)["tensors"]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def steps_evaluated(monkeypatch, settings, durations, steps=1000, stop=None):
    """Return the steps at which each task is evaluated, steps taking a second, and what is said."""
    clock, found, lines = Clock(), {name: [] for name in durations}, []
    monkeypatch.setattr(callbacks, "perf_counter", clock)
    monkeypatch.setattr(task_limit, "perf_counter", clock)
    world = SimpleNamespace(broadcast=lambda value: value)
    session = SimpleNamespace(
        recipe=SimpleNamespace(
            eval=settings,
            train=SimpleNamespace(checkpoint=SimpleNamespace(best="val/bits_per_byte")),
        ),
        world=world,
        ui=SimpleNamespace(say=lines.append),
        stop=stop or SimpleNamespace(signal_number=None),
        log=lambda *_: Changes(),
    )

    def score_tasks(tasks, ui):
        (name,) = tasks
        with ui.task(name, 10, "documents") as bar:
            for _ in range(10):
                clock.now += durations[name] / 10
                try:
                    bar.advance(1)
                except TaskLimit.Ended:
                    return {}, {}
        found[name].append(step)
        return {"task/blimp/accuracy": 0.6, "task/blimp/accuracy_stderr": 0.01}, {}

    evaluation = TaskEvaluation(session, SimpleNamespace(score_tasks=score_tasks))
    for step in range(1, steps):
        clock.now += 1
        progress = SimpleNamespace(stage_step=step, step=step, best=None)
        trainer = SimpleNamespace(plan=SimpleNamespace(total_steps=steps), progress=progress)
        evaluation.after_step(trainer, SimpleNamespace(progress=progress))
    return found, lines, clock.now


def test_the_time_of_an_evaluation_is_estimated_from_its_current_part(monkeypatch):
    """Programs that run after 40 answers were written do not count as more answers."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(task_limit, "perf_counter", lambda: clock.now)
    limit = TaskLimit(SimpleNamespace(signal_number=None), 7.0)
    with limit.task("answers", 40, "documents") as bar:
        clock.now = 6.0
        bar.advance(40)
    with pytest.raises(TaskLimit.Ended), limit.task("programs", 40, "programs") as bar:
        clock.now = 8.0
        bar.advance(10)
    assert limit.estimate(8.0) == 6 + 2 * 4


def test_what_is_cheap_keeps_its_cadence(monkeypatch):
    settings = EvalSettings(tasks=[{"name": "blimp", "every_steps": 100}])
    found, lines, _ = steps_evaluated(monkeypatch, settings, {"blimp": 2.0})
    assert found["blimp"] == list(range(100, 1000, 100))
    assert not any("less often" in line for line in lines)


def test_what_is_dear_is_evaluated_less_often_and_says_so_once(monkeypatch):
    tasks = [{"name": "blimp", "every_steps": 50}, {"name": "piqa", "every_steps": 50}]
    settings = EvalSettings(tasks=tasks, max_share=0.1)
    durations = {"blimp": 20.0, "piqa": 1.0}
    found, lines, seconds = steps_evaluated(monkeypatch, settings, durations)
    assert 2 <= len(found["blimp"]) < 19 and len(found["piqa"]) >= 3
    assert found["blimp"][0] > 50  # the first time it was only begun
    spent = sum(len(found[name]) * durations[name] for name in found)
    assert 0.05 * seconds < spent <= 0.1 * seconds
    (said,) = [line for line in lines if line.startswith("task blimp")]
    assert "takes 20.0 s" in said and "below 10%" in said


def test_a_run_that_is_asked_to_stop_does_not_wait_for_a_task(monkeypatch):
    settings = EvalSettings(tasks=[{"name": "blimp", "every_steps": 50}])
    stop = SimpleNamespace(signal_number=15)
    found, _, seconds = steps_evaluated(monkeypatch, settings, {"blimp": 5.0}, 52, stop)
    assert not found["blimp"] and seconds < 53


FAIR = "{metric: task/blimp/accuracy, at_least: 0.6}"


def recipe_with(rule=FAIR, tasks="[]", more=(), at="rules"):
    tree = parse(TINY, "tiny")
    tree.set(f"stages.1.gate.{at}", f"[{rule}]")
    tree.set("eval.tasks", tasks)
    for key, value in more:
        tree.set(key, value)
    return check_tree(tree)


@pytest.mark.parametrize(
    ("rule", "tasks", "said"),
    [
        ("at_least: 0.505", "[]", "guessing has 0.5 +- 0.0019 on 67,000 documents"),
        ("at_least: 0.3", "[]", "expected more than 0.506"),
        ("at_least: 0.55", "[{name: blimp, limit: 500}]", "expected more than 0.567"),
    ],
)
def test_a_limit_that_chance_reaches_is_refused_with_the_figures(rule, tasks, said):
    rule = FAIR.replace("at_least: 0.6", rule)
    with pytest.raises(RecipeError, match=re.escape(said)):
        recipe_with(rule, tasks)
    recipe_with(rule, tasks, at="targets")
    recipe_with()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{metric: task/blip/accuracy, at_least: 0.6}", "did you mean 'blimp'"),
        ("{metric: task/blimp/perplexity, at_most: 9}", "expected one of task/blimp/accuracy"),
        ("{metric: task/*/accuracy, at_least: 0.6}", "is not measured"),
        ("{metric: task/humaneval/pass@1, at_least: 0.1}", "eval.allow_code"),
        ("{metric: task/blimp/accuracy, against: best, at_least: 0.9}", "the task in eval"),
        ("{metric: task/gsm8k_gold/bits_per_byte, against: xz, at_most: 1}", "xz"),
        ("{metric: task/blimp/acuracy, at_least: 0.6}", "task/blimp/accuracy"),
    ],
)
def test_rules_on_what_is_never_measured_are_refused(rule, said):
    with pytest.raises(RecipeError, match=re.escape(said)):
        recipe_with(rule)


def test_tasks_that_run_programs_need_permission_except_as_targets():
    rule = "{metric: task/humaneval/pass@1, at_least: 0.1}"
    assert recipe_with(rule, at="targets").stages[1].gate.targets
    assert recipe_with(rule, more=[("eval.allow_code", "true")]).eval.allow_code
    with pytest.raises(RecipeError, match=r"eval\.allow_code"):
        recipe_with(tasks="[{name: humaneval}]")


@pytest.mark.parametrize("tasks", ["[]", "[{name: sciq}]", "[{name: arc_easy, every_steps: 3}]"])
def test_the_best_checkpoint_is_chosen_by_what_is_measured_on_the_way(tasks):
    with pytest.raises(RecipeError, match="not measured"):
        recipe_with(tasks=tasks, more=[("train.checkpoint.best", "task/sciq/accuracy")])


def test_a_missing_file_is_found_before_training(tmp_path, folder):
    text = recipe_text(folder).replace("tasks: [", "tasks: [{name: piqa}, ")
    said = call("train", write_tiny(tmp_path, text), "--out", tmp_path / "run")
    assert said.code == 2 and "test set of piqa" in said.error
    assert not (tmp_path / "run").exists()
