"""What people read: a run's end, its progress, plans without YAML, cures in messages."""

import io
import json
import math
import shlex
from contextlib import redirect_stderr
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from recipes import write_tiny
from report.made_runs import loss_at, step_line
from running import call
from yxanul.base.errors import YxanulError
from yxanul.base.files import folder_lock
from yxanul.base.ui import SilentUi
from yxanul.cli.options import with_device
from yxanul.cli.output import TerminalUi, log_ui
from yxanul.cli.run import SAMPLE_LINES, readable, summary
from yxanul.cli.show_plan import show_recipe
from yxanul.cli.show_run import show_run
from yxanul.cli.tokenizer_train import check_output
from yxanul.stages.ledger import AlertRollback, Entry, Ledger
from yxanul.stages.summary import opening_words
from yxanul.tokenizer.build import build_byte
from yxanul.tokenizer.config import ByteSettings


@pytest.mark.parametrize(
    ("on_path", "beside_python", "words"),
    [
        (True, True, ["yxanul"]),
        (False, True, [".venv/bin/yxanul"]),
        (False, False, ["{folder}/.venv/bin/python", "-m", "yxanul"]),
    ],
)
def test_a_run_ends_with_commands_that_work_in_the_same_shell(
    on_path, beside_python, words, monkeypatch, tmp_path
):
    scripts = tmp_path / ".venv" / "bin"
    scripts.mkdir(parents=True)
    if beside_python:
        (scripts / "yxanul").touch()
    words = [word.format(folder=tmp_path) for word in words]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.executable", str(scripts / "python"))
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/yxanul" if on_path else None)
    samples = ["It's\n\n\n\n\nlong"]
    facts = {"run": "my runs/x", "stages": [], "held_out": {}, "samples": samples}
    facts["prompt"] = 'It\'s $5 "now"'
    *_, sample, _, _, _, more, last = summary(facts).splitlines()
    assert sample == "long"
    told = ["generate", "my runs/x", facts["prompt"], "--temperature", "0.3", "--samples", "4"]
    assert shlex.split(more) == [*words, *told]
    assert shlex.split(last) == [*words, "show", "my runs/x"]


def test_a_sample_is_readable_and_bounded():
    assert readable("\n\nOne.\n \n\n\nTwo.\nThree.\x1b[2J\n\n") == "One.\n\nTwo.\nThree.\\x1b[2J"
    assert readable("a\n" * 500).count("\n") == SAMPLE_LINES - 1
    assert readable("a\n" * 500).endswith(" ...")
    assert len(readable("x" * 100_000)) < 3_000


def session_with(texts, tokenizer):
    ends = [[*tokenizer.encode(text), tokenizer.end_of_text_id] for text in texts]
    shards = SimpleNamespace(num_documents=len(ends), document=lambda n: np.array(ends[n]))
    stage = SimpleNamespace(name="one", domains=lambda: ["mine"])
    data = SimpleNamespace(held_out={"mine": shards}, tokenizer=tokenizer)
    recipe, progress = SimpleNamespace(stages=[stage]), SimpleNamespace(stage="one")
    return SimpleNamespace(data=data, recipe=recipe, progress=progress)


@pytest.mark.parametrize(
    ("texts", "prompt"),
    [
        (["The old mill\n\nstood by the river for years."], "The old mill stood by the"),
        (["\n\n***\n", "Second one"], "Second one"),
        (["ab"], "ab"),
        (["and ran home. The wolf ran after him to his door."], "The wolf ran after him to"),
        (["and ran home", "1984 was a year"], "1984 was a year"),
        (["home.\n\n漢字 is written here in one line"], "漢字 is written here in one"),
        (["été " * 50], "été été été été été été"),
        (["\n\n"], ""),
    ],
)
def test_the_prompt_is_the_beginning_of_a_sentence_of_held_out_text(texts, prompt):
    assert (
        opening_words(session_with(texts, build_byte(ByteSettings(), list, SilentUi()))) == prompt
    )


def test_scoring_names_every_domain(monkeypatch):
    from yxanul.eval import perplexity
    from yxanul.eval.score import Score

    monkeypatch.setattr(perplexity, "score_shards", lambda *_: Score(1.0, 10, 10))
    said = io.StringIO()
    with redirect_stderr(said):
        domains = {name: SimpleNamespace(num_tokens=10) for name in ("stories", "math")}
        perplexity.score_domains(None, domains, dict.fromkeys(domains), log_ui())
    assert "stories 1.443, math 1.443 bits per byte" in said.getvalue()


def test_progress_is_said_once(monkeypatch):
    monkeypatch.setattr("yxanul.cli.output.SECONDS_BETWEEN_LINES", 0.0)
    said = io.StringIO()
    with redirect_stderr(said), log_ui().task("score files", 2, "files") as task:
        task.advance(1, "a.txt")
        task.advance(1, "b.txt")
    lines = said.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "score files: 1/2 files",
        "score files: 2/2 files",
    ]


def test_what_was_done_before_is_progress_but_not_speed(monkeypatch):
    monkeypatch.setattr("yxanul.cli.output.SECONDS_BETWEEN_LINES", 0.0)
    clock = iter(range(0, 100, 10))
    monkeypatch.setattr("yxanul.base.ui.time.monotonic", lambda: next(clock))
    said = io.StringIO()
    with redirect_stderr(said), log_ui().task("train", math.inf, "tokens", done=500) as task:
        task.advance(100)
        task.expect(900)
        task.advance(100)
    assert said.getvalue().splitlines() == [
        "train: 600 tokens, 5/s",  # no total is known yet
        "train: 700/900 tokens, 5/s, 0:40 left",
    ]


@pytest.fixture
def run(tmp_path):
    """A run of two stages, in the middle of the second."""
    folder = tmp_path / "run"
    folder.mkdir()
    ledger = Ledger(folder / "ledger.json")
    ledger.entries = [
        Entry("one", "passed", 1000, 10, 0, {}),
        Entry("two", "running", 4000, 40, 10, {}),
    ]
    ledger.write()
    (folder / "recipe.yaml").write_text(write_tiny(tmp_path).read_text())
    lines = [step_line(n, **{"perf/seconds_left": (50 - n) / 2}) for n in range(1, 21)]
    lines.insert(15, {"step": 15, "val/loss": 3.0})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text + '{"step": 21, "train/lo')
    return folder


def test_show_says_how_far_a_run_is_that_trains(run):
    with folder_lock(run):
        facts, text = show_run(run)
    assert facts["alive"] and facts["process"] and facts["status"] == "running"
    assert (facts["stage"], facts["stage_step"], facts["stage_steps"]) == ("two", 10, 40)
    assert facts["step"] == 20 and facts["tokens_per_second"] == 200
    assert facts["loss"] == pytest.approx(loss_at(10.5), abs=0.01)
    assert facts["seconds_left"] == 15
    for part in ("'two' 25%", "step 20", "200 tokens/s", "0:15 left", str(facts["process"])):
        assert part in text, part


def test_show_says_that_no_process_is_at_work(run):
    facts, text = show_run(run)
    assert not facts["alive"] and facts["seconds_left"] is None and facts["loss"]
    assert facts["status"] == "stopped" and facts["alerts"] == 0
    assert "no process" in text and "'two': stopped" in text and "running" not in text


def test_show_tells_of_alerts_and_rollbacks(run):
    with open(run / "metrics.jsonl", "a") as file:
        file.write('\n{"step": 9, "alert": {"name": "plateau"}}\n')
    ledger = Ledger.open(run / "ledger.json")
    ledger.entries[-1].rollbacks.append(AlertRollback(9, 5, "loss_spike"))
    ledger.write()
    text = show_run(run)[1]
    assert f"1 alert: yxanul doctor {run}\n" in text
    assert "  rollback at step 9 to step 5" in text.splitlines()


def test_lines_that_a_crash_spoiled_are_not_counted(run):
    spoiled = b'\0\0\0\n{"step": "x", "train/loss": 3}\nnull\n[1]\n'
    metrics = run / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes().rpartition(b"\n")[0] + b"\n" + spoiled)
    facts, _ = show_run(run)
    assert facts["step"] == 20 and facts["tokens_per_second"] == 200


def test_show_of_a_run_that_has_not_begun(tmp_path):
    write_tiny(tmp_path).rename(tmp_path / "recipe.yaml")
    facts, text = show_run(tmp_path)
    assert facts["stage"] is None and facts["step"] == 0 and "no stage" in text


def test_a_plan_comes_without_the_recipe_unless_asked(tmp_path):
    name = str(write_tiny(tmp_path))
    facts, short = show_recipe(name, [])
    full_facts, full = show_recipe(name, [], full=True)
    assert "ffn_width" not in short and full.startswith(short) and "ffn_width: 64" in full
    assert full_facts == facts and facts["recipe"]["model"]["ffn_width"] == 64
    assert call("show", "nano", "--full").code == 2


def test_show_knows_presets_when_a_name_is_wrong():
    assert "'micro'" in call("show", "micr").error


def test_a_tokenizer_is_replaced_only_by_force(tmp_path):
    assert check_output(tmp_path, force=False) == tmp_path
    (tmp_path / "tokenizer.json").write_text("{}")
    assert check_output(tmp_path, force=True) == tmp_path
    with pytest.raises(YxanulError, match="--force"):
        check_output(tmp_path, force=False)


@pytest.fixture
def trained(tmp_path):
    """A run with two checkpoints of an untrained model."""
    import torch

    from yxanul.checkpoint.write import write_checkpoint
    from yxanul.model.config import ModelSettings
    from yxanul.model.language_model import LanguageModel

    folder, tokenizer = tmp_path / "trained", build_byte(ByteSettings(), list, SilentUi())
    tokenizer.save(folder / "tokenizer.json")
    shape = {"width": 16, "depth": 1, "num_heads": 2, "ffn_width": 16, "max_seq_len": 32}
    settings = ModelSettings.model_validate(shape).resolved(tokenizer.vocab_size)
    model = LanguageModel(settings)
    model.init_weights(torch.Generator().manual_seed(0))
    for step in (1, 2):
        state = {
            "tokenizer": tokenizer.digest,
            "model": settings.model_dump(mode="json"),
            "progress": {"step": step},
            "seq_len": 32,
            "data_folder": None,
        }
        weights = {"model": model.state_dict(), "optimizer": {}}
        write_checkpoint(folder / "checkpoints", step, weights, state)
    return folder


@pytest.mark.parametrize("file", ["model.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_says_which_one_is_intact(trained, file):
    ask = ("generate", trained, "Once", "--max-tokens", 2, "--device", "cpu", "--json")
    (trained / "checkpoints" / "step-00000002" / file).write_bytes(b"{" + b"0" * 99)
    said = call(*ask)
    assert said.code == 2 and "damaged" in said.error
    hint = json.loads(said.out)["error"]["hint"]
    assert hint.endswith("--checkpoint 1")
    said = call(*ask, *hint.split()[-2:])
    assert said.code == 0 and json.loads(said.out)["run"] == str(trained)
    (trained / "checkpoints" / "step-00000001" / file).unlink()
    assert "no other" in json.loads(call(*ask).out)["error"]["hint"]


def test_what_is_no_run_says_what_to_give(trained, tmp_path):
    checkpoint = trained / "checkpoints" / "step-00000002"
    assert f"give the run folder: {trained} --checkpoint 2" in call("eval", checkpoint).error
    (tmp_path / "runs/plan").mkdir(parents=True)
    plan = tmp_path / "plan.yaml"
    plan.write_text("seed: 1")
    assert "a file; did you mean runs/plan?" in call("eval", plan, cwd=tmp_path).error
    (tmp_path / "runs/plan/recipe.yaml").write_text("seed: 1")
    assert "not trained" in call("generate", "runs/plan", "x", cwd=tmp_path).error


def test_a_run_whose_recipe_is_lost_can_be_shown(run):
    (run / "recipe.yaml").unlink()
    assert "no process" in call("show", run).out


@pytest.mark.parametrize("verb", ["run", "prepare", "train"])
def test_what_cannot_be_a_run_folder_is_refused(verb, tmp_path):
    recipe = write_tiny(tmp_path)
    (tmp_path / "link").symlink_to("nowhere")
    for out, said in (
        (recipe, "tiny.yaml is not a folder"),
        (recipe / "run", "tiny.yaml is not a folder"),
        (tmp_path / "link", "a broken link to nowhere"),
        ("s3://bucket/run", "a remote address"),
        ("", "--out; got ''; expected a folder"),
        ("a\0b", "--out; got 'a\\x00b'; expected a folder"),
    ):
        said_here = call(verb, recipe, "--out", out, cwd=tmp_path)
        assert said_here.code == 2 and said in said_here.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "tiny.yaml"]


def test_a_page_for_people_is_no_json():
    said = call("schema", "--markdown", "--json")
    assert said.code == 2 and "cannot be combined" in json.loads(said.out)["error"]["message"]


def test_an_empty_stop_is_said_in_a_sentence(trained):
    said = call("generate", trained, "Once", "--stop", "", "--device", "cpu")
    assert said.error.startswith("yxanul: stop: ")


def test_device_is_short_for_a_key_of_the_recipe():
    assert with_device(["a=1"], None) == ("a=1",)
    assert with_device(None, "cpu") == ("train.device=cpu",)  # pyright: ignore[reportArgumentType]
    said = call("run", "quickstart", "--device", "tpu", "--json")
    assert said.code == 2 and "--device" in json.loads(said.out)["error"]["message"]
    assert call("generate", "nowhere", "Once", "--device", "tpu").code == 2


def test_a_bar_takes_a_total_that_is_not_known_yet():
    ui = TerminalUi()
    ui.console = Console(file=io.StringIO())
    with ui.task("train", math.inf, "tokens") as bar:
        bar.expect(math.inf)
        bar.advance(1)
        bar.expect(2)
        bar.advance(1)
