"""The facts of runs of every shape, also of damaged and unfinished ones."""

import json
import shutil

import pytest

from repo.test_layers import SRC
from report.made_runs import entry, loss_at, make_run, step_line, whole_run, write_lines
from yxanul.base.errors import YxanulError
from yxanul.base.files import folder_lock
from yxanul.report.facts import RunReader, differences, report_facts
from yxanul.report.files import MetricsFile

GOLDEN = SRC.parents[1] / "tests" / "golden" / "run"


def facts_of(run, **options):
    return RunReader(run).facts(**options)


def test_one_stage(tmp_path):
    facts = facts_of(whole_run(tmp_path / "run"))
    assert (facts["status"], facts["sentence"]) == ("passed", "The only stage passed its gate.")
    (stage,) = facts["stages"]
    assert stage["seconds"] == 150 and stage["domains"][0]["after"] == 0.8
    assert stage["findings"][0]["label"] == "bits per byte of one"
    assert facts["cost"]["tokens"] == 30_000 and facts["cost"]["seconds"] == 150
    assert [span["to"]["step"] for span in facts["spans"]] == [150, 300]
    assert [span["seq_len"] for span in facts["spans"]] == [32, 64]


def test_a_curve_is_what_was_recorded(tmp_path):
    curves = facts_of(whole_run(tmp_path / "run"))["curves"]
    loss = curves["series"]["train/loss"]
    axis = curves["axes"][loss["axis"]]
    assert axis["step"] == list(range(1, 301)) and axis["tokens"][-1] == 30_000
    assert axis["seconds"][:2] == [0.5, 1.0]
    assert loss["y"] == pytest.approx([loss_at(step) for step in axis["step"]], rel=1e-3)
    assert "low" not in loss  # every step has its own point
    held_out = curves["series"]["val/one/bits_per_byte"]
    assert curves["axes"][held_out["axis"]]["tokens"] == [5000 * n for n in range(1, 7)]


def test_a_thinned_curve_has_medians_and_their_range(tmp_path):
    losses = [float(step % 10) for step in range(1, 1001)]
    lines = [step_line(step, **{"train/loss": loss}) for step, loss in enumerate(losses, 1)]
    run = make_run(tmp_path / "run", [entry("one", 0, 1000)], lines)
    loss = facts_of(run, points=100)["curves"]["series"]["train/loss"]
    assert len(loss["y"]) == 100
    assert set(loss["low"]) == {0.0} and set(loss["high"]) == {9.0} and set(loss["y"]) == {4.5}


def test_heat_maps_are_by_layer(tmp_path):
    (heat,) = facts_of(whole_run(tmp_path / "run"))["curves"]["heat_maps"]
    assert heat["title"] == "attention_entropy" and heat["layers"] == [0, 1, 2, 3]
    assert heat["rows"] == [[n / 4] * 6 for n in range(4)]


def test_every_metric_has_a_chart_or_says_nothing_new(tmp_path):
    names = ["train/entropy", "weights/first/std", "weights/last/std", "gradient_norm/ffn",
             "activations/first/mean", "val/3/bits_per_byte"]  # fmt: skip
    lines = [step_line(n) | {name: n / 7 for name in names} for n in range(1, 9)]
    run = make_run(tmp_path / "run", [entry("one", 0, 8)], lines)
    report = report_facts([RunReader(run)])
    drawn = {one["name"] for chart in report["charts"] for one in chart["series"]}
    assert {"gradient_norm/ffn", "val/3/bits_per_byte"} <= drawn
    others = {chart["title"]: [one["label"] for one in chart["series"]]
              for chart in report["other_charts"]}  # fmt: skip
    assert others == {
        "train/entropy": ["entropy"],
        "weights/*/std": ["first", "last"],
        "activations/*/mean": ["first"],
    }


def test_several_stages_and_phases(tmp_path):
    lines = [step_line(step, phase=(step - 1) % 50 // 10) for step in range(1, 101)]
    run = make_run(tmp_path / "run", [entry("one", 0, 50), entry("two", 50, 50)], lines)
    facts = facts_of(run)
    assert facts["sentence"] == "Both stages passed their gates."
    named = [(span["stage"], span["phase"], span["to"]["step"]) for span in facts["spans"]]
    assert named == [
        (stage, phase, first + 10 * (phase + 1))
        for stage, first in (("one", 0), ("two", 50))
        for phase in range(5)
    ]


def test_a_failed_gate_says_what_failed(tmp_path):
    action = {"kind": "extend", "step": 6, "tokens": 400, "replay": 0.25}
    failed = entry("one", 0, 10, "failed", actions=[action])
    run = make_run(tmp_path / "run", [failed], map(step_line, range(1, 11)))
    facts = facts_of(run)
    assert facts["status"] == "failed"
    assert "bits per byte of one: 0.8, has to be at most 0.5" in facts["sentence"]
    (action,) = facts["stages"][0]["actions"]
    assert "step 6" in action and "400 tokens" in action and "25%" in action


@pytest.mark.parametrize(
    ("measured", "limit", "interval", "said"),
    [
        (0.61, 0.6, [0.58, 0.64], "0.61 (95 %: 0.58 to 0.64), not shown to be at least 0.6"),
        (0.94996, 0.95, None, "0.94996, has to be at least 0.95"),
        (11234.5, 12000, None, "11,234, has to be at least 12,000"),
        (None, 0.5, None, "not measured, has to be at least 0.5"),
    ],
)
def test_a_verdict_does_not_contradict_itself(tmp_path, measured, limit, interval, said):
    failed = entry("one", 0, 10, "failed")
    figures = {"measured": measured, "limit": limit, "interval": interval, "bound": "at_least"}
    failed["verdict"]["findings"][0] |= figures
    run = make_run(tmp_path / "run", [failed], map(step_line, range(1, 11)))
    assert f"one: {said}." in facts_of(run)["sentence"]


def test_in_the_middle_of_a_run(tmp_path):
    stages = [entry("one", 0, 10), entry("two", 10, 90, "running")]
    run = make_run(tmp_path / "run", stages, map(step_line, range(1, 41)))
    with folder_lock(run):
        facts = facts_of(run)
    assert facts["status"] == "running"
    assert facts["sentence"] == "In stage 'two', at step 30 of 90; 1 of 2 stages passed."
    assert facts_of(run)["status"] == "stopped"


def test_before_the_first_step(tmp_path):
    run = make_run(tmp_path / "run", [], [])
    facts = facts_of(run)
    assert facts["sentence"] == "No stage has begun." and facts["curves"]["series"] == {}
    (run / "metrics.jsonl").unlink()
    (run / "ledger.json").unlink()
    assert facts_of(run)["cost"]["tokens"] == 0


def test_torn_and_damaged_lines_are_left_out(tmp_path):
    lines = [step_line(1), "no json\n", "[1]\n", '{"train/loss": 3}\n', step_line(2), '{"step": 3']
    facts = facts_of(make_run(tmp_path / "run", [entry("one", 0, 9, "running")], lines))
    assert facts["cost"]["steps"] == 2


def test_null_is_a_gap(tmp_path):
    lines = [step_line(1), step_line(2, **{"train/loss": None}), step_line(3)]
    facts = facts_of(make_run(tmp_path / "run", [entry("one", 0, 3)], lines))
    assert facts["curves"]["series"]["train/loss"]["y"][1] is None
    json.dumps(facts, allow_nan=False)


def test_steps_that_were_repeated_count_once(tmp_path):
    lines = [*map(step_line, range(1, 31)), *map(step_line, range(21, 41))]
    facts = facts_of(make_run(tmp_path / "run", [entry("one", 0, 40)], lines))
    loss = facts["curves"]["series"]["train/loss"]
    assert facts["curves"]["axes"][loss["axis"]]["step"] == list(range(1, 41))
    assert facts["cost"]["seconds"] == 20


def test_a_resumed_run_is_read_again_and_a_growing_one_from_where_it_was(tmp_path):
    run = make_run(tmp_path / "run", [entry("one", 0, 40)], map(step_line, range(1, 31)))
    metrics = MetricsFile(run / "metrics.jsonl")
    assert metrics.update() and not metrics.update()
    offset = metrics.offset
    with open(run / "metrics.jsonl", "a") as file:
        file.write(json.dumps(step_line(31)) + "\n" + json.dumps(step_line(32))[:20])
    assert metrics.update() and metrics.clock().last["step"] == 31
    assert metrics.offset > offset
    shutil.copy(run / "metrics.jsonl", run / "other")
    write_lines(run, map(step_line, range(1, 21)))
    assert metrics.update() and metrics.clock().last["step"] == 20


def test_alerts_are_those_that_the_run_recorded(tmp_path):
    alert = {"name": "loss_spike", "severity": "warn", "seen": "a loss of 51", "cause": "c",
             "advice": "optim.peak_lr=1e-3"}  # fmt: skip
    lines = [*map(step_line, range(1, 41)), {"step": 30, "alert": alert}]
    (found,) = facts_of(make_run(tmp_path / "run", [entry("one", 0, 40)], lines))["alerts"]
    assert found == alert | {"step": 30, "tokens": 3000, "seconds": 15.0}


def test_samples_by_prompt(tmp_path):
    texts = {
        step: f"Of no prompt\n\nOne {step}\n\nOne more\n\nTwo {step}\nend"
        for step in range(10, 300, 10)
    }
    lines = [{"step": step, "samples": text} for step, text in texts.items()]
    run = make_run(tmp_path / "run", [entry("one", 0, 9)], lines, prompts=("One", "Two"))
    one, two = facts_of(run)["samples"]
    assert one["prompt"] == "One" and two["prompt"] == "Two"
    assert len(one["texts"]) == 12 and two["texts"][-1] == {
        "step": 290, "tokens": 0, "text": " 290\nend",
    }  # fmt: skip
    assert one["texts"][0]["text"] == " 10\n\nOne more"


def test_a_run_of_earlier_code(tmp_path):
    facts = facts_of(GOLDEN)
    assert facts["sentence"].startswith("In stage") and facts["model"]["parameters"] > 0
    (passed,) = (finding["passed"] for finding in facts["stages"][0]["findings"])
    assert passed
    sources = {one["name"]: one for one in facts["data"]}
    assert sources["math"]["documents"] > 0 and sources["math"]["licence"] == "MIT"
    names = {one["note"] for one in facts["checksums"]}
    assert names >= {"best"} or names >= {"newest"}


def test_what_was_left_out_and_why(tmp_path):
    run = whole_run(tmp_path / "run")
    split = {"documents": 3, "tokens": 600, "bytes": 900}
    manifest = {"dropped": {"too_short": 7}, "splits": {"train": split, "validation": split}}
    (run / "data" / "one").mkdir(parents=True)
    (run / "data" / "one" / "manifest.json").write_text(json.dumps(manifest))
    (source,) = facts_of(run)["data"]
    assert source["dropped"][0]["documents"] == 7 and "shorter" in source["dropped"][0]["reason"]


def test_tasks_have_errors_and_chance(tmp_path):
    """Of an evaluation during training, of a gate, and of one after it."""
    name = "task/blimp/accuracy"
    lines = [{"step": n, name: 0.5 + n / 10, f"{name}_stderr": 0.02} for n in (1, 2)]
    run = make_run(tmp_path / "run", [entry("one", 0, 2, "running")], [step_line(1), *lines])
    (during,) = facts_of(run)["tasks"]
    assert during["task"] == "blimp" and during["chance"] == 0.5
    assert (during["value"], during["stderr"], during["step"]) == (0.7, 0.02, 2)
    ended = entry("one", 0, 4)
    ended["at_end"][name] = 0.75
    run = make_run(tmp_path / "ended", [ended], [step_line(1), *lines])
    (at_gate,) = facts_of(run)["tasks"]
    assert (at_gate["value"], at_gate["step"]) == (0.75, 4)
    (run / "evaluations").mkdir()
    figures = {"accuracy": 0.8, "stderr": 0.01, "chance": 0.5, "documents": 670, "cut_prompts": 3}
    content = json.dumps({"step": 4, "tasks": {"blimp": figures}})
    (run / "evaluations" / "tasks-00000004.json").write_text(content)
    (after,) = facts_of(run)["tasks"]
    assert (after["value"], after["stderr"], after["documents"]) == (0.8, 0.01, 670)


def test_a_target_is_no_failure(tmp_path):
    failed = entry("one", 0, 2, "failed")
    finding = failed["verdict"]["findings"][0]
    target = finding | {"metric": "task/blimp/accuracy", "is_target": True, "interval": [0.4, 0.6]}
    failed["verdict"]["findings"].append(target)
    facts = facts_of(make_run(tmp_path / "run", [failed], [step_line(1)]))
    assert "blimp" not in facts["sentence"]
    finding = facts["stages"][0]["findings"][1]
    assert (
        finding["label"] == "accuracy of blimp (a target)" and "0.4 to 0.6" in finding["measured"]
    )


def test_several_runs_and_what_differs(tmp_path):
    runs = [whole_run(tmp_path / name, optim={"peak_lr": lr}) for name, lr in
            (("a", 0.001), ("b", 0.002))]  # fmt: skip
    facts = report_facts([RunReader(run) for run in runs])
    assert facts["differences"] == [{"key": "optim.peak_lr", "values": ["0.001", "0.002"]}]
    assert [run["name"] for run in facts["runs"]] == ["a", "b"]


def test_a_key_that_one_recipe_lacks_is_a_difference():
    assert differences([{"a": "1"}, {}]) == [{"key": "a", "values": ["1", None]}]


def test_reproducing_fixes_what_minutes_came_to(tmp_path):
    stages = [{"name": "one", "budget": {"minutes": 3}}]
    run = whole_run(tmp_path / "run", stages=stages)
    install, _, command = facts_of(run)["reproduce"]
    assert "torch==2.13.0" in install
    assert "train.precision=fp32" in command
    assert "'stages.0.budget={tokens: 30000}'" in command


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(YxanulError):
        RunReader(tmp_path)
