"""What every tracker must do; each is read back with what its own users read it with."""

import json
import math
import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import get_args

import pytest

from sessions import RecordingUi
from tracking import LOSSES, log_and_resume, log_steps
from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.alerts import Alert
from yxanul.monitor.config import TrackerName
from yxanul.monitor.trackers import TRACKERS, Histogram, open_trackers


class FakeWandb(ModuleType):
    """The little of W&B that we use, with its rule that a step never goes back; offline, a run that
    is opened again knows nothing of its steps."""

    def __init__(self):
        super().__init__("wandb")
        self.runs, self.offline, self.alerts = {}, False, []
        self.errors = SimpleNamespace(Error=type("Error", (Exception,), {}))

    def init(self, *, id, resume, dir, name, project, config):
        assert resume == "allow"
        if self.offline:
            self.runs.pop(id, None)  # as the sync of the newer piece does
        run = self.runs.setdefault(id, SimpleNamespace(rows={}, step=0))
        run.offline, run.config, run.summaries = self.offline, config, {}
        run.define_metric = lambda name, summary: run.summaries.update({name: summary})
        run.alert = lambda title, text, level: self.alerts.append((title, level))
        run.log = lambda metrics, step: self._log(run, metrics, step)
        run.finish = lambda: setattr(run, "step", run.step + 1)
        return run

    def Html(self, text):
        return SimpleNamespace(text=text)

    def Histogram(self, np_histogram):
        return SimpleNamespace(text=np_histogram)

    def _log(self, run, metrics, step):
        assert step >= run.step, "W&B drops steps that go back"
        run.step = step
        run.rows.setdefault(step, {}).update(metrics)


@pytest.fixture(autouse=True)
def wandb(monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def read_jsonl(run, wandb):
    seen = {}
    for line in run.metrics.read_text().splitlines() if run.metrics.exists() else ():
        record = json.loads(line)
        for name, value in record.items():
            if name != "step":
                seen.setdefault(name, []).append((record["step"], value))
    return seen


def read_tensorboard(run, wandb):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run.path / "tensorboard"
    if not folder.exists():
        return {}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    seen = {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }
    for name in events.Tags()["histograms"]:
        found = [(event.step, event.histogram_value) for event in events.Histograms(name)]
        assert all(one.num == sum(one.bucket) for _, one in found)
        seen[name] = [(step, (one.bucket, [one.min, *one.bucket_limit])) for step, one in found]
    for name in events.Tags()["tensors"]:
        seen[name.removesuffix("/text_summary")] = [
            (event.step, event.tensor_proto.string_val[0].decode())
            for event in events.Tensors(name)
        ]
    return seen


def read_wandb(run, wandb):
    seen = {}
    for fake_run in wandb.runs.values():
        for step, row in fake_run.rows.items():
            for name, value in row.items():
                plain = value if isinstance(value, float | int) else value.text
                seen.setdefault(name, []).append((step, plain))
    return seen


READERS = {"jsonl": read_jsonl, "tensorboard": read_tensorboard, "wandb": read_wandb}


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "runs" / "a-run")


def test_every_name_in_the_settings_is_in_the_table():
    assert set(get_args(TrackerName)) == set(TRACKERS) == set(READERS)


@pytest.mark.parametrize("name", TRACKERS)
class TestTracker:
    def test_an_alert_is_kept_and_dropped_by_a_rewind_before_it(self, name, run, wandb):
        tracker = open_trackers([name], run)
        tracker.alert(Alert("loss_spike", 7, "warn", "a loss", "a batch", "another", 7))
        tracker.close()
        seen = READERS[name](run, wandb)
        if name == "jsonl":
            ((step, fields),) = seen["alert"]
            expected = {"name": "loss_spike", "severity": "warn", "seen": "a loss", "since": 7}
            assert step == 7 and fields == expected | {"cause": "a batch", "advice": "another"}
            tracker.rewind(6)
            assert READERS[name](run, wandb) == {}
        else:
            ((step, text),) = seen["alerts/loss_spike"]
            assert step == 7 and "a loss; likely a batch; try another" in text
        assert wandb.alerts == [("loss_spike", "WARN")] * (name == "wandb")

    def test_what_is_logged_can_be_read(self, name, run, wandb):
        tracker = open_trackers([name], run)
        for step in range(1, 4):
            tracker.log(step, {"train/loss": 1.5 / step, "curriculum/phase": 2})
        tracker.log(3, {"val/loss": 0.25})
        tracker.close()
        seen = READERS[name](run, wandb)
        assert [step for step, _ in seen["train/loss"]] == [1, 2, 3]
        assert [value for _, value in seen["train/loss"]] == pytest.approx([1.5, 0.75, 0.5])
        assert seen["curriculum/phase"] == [(1, 2), (2, 2), (3, 2)]
        assert seen["val/loss"] == [(3, 0.25)]

    def test_text_is_kept(self, name, run, wandb):
        tracker = open_trackers([name], run)
        tracker.text(7, "samples/0", "Zoë & the fox\nran")
        tracker.close()
        ((step, text),) = READERS[name](run, wandb)["samples/0"]
        assert step == 7 and "Zoë" in text and "the fox\nran" in text

    def test_a_histogram_is_kept_by_those_that_draw(self, name, run, wandb):
        tracker = open_trackers([name], run)
        tracker.histogram(3, "histogram/weights/first", Histogram([1.0, 5.0, 0.0], (-2, 0, 1, 9)))
        tracker.close()
        seen = READERS[name](run, wandb)
        if name == "jsonl":
            assert seen == {}
        else:
            ((step, (counts, edges)),) = seen["histogram/weights/first"]
            assert (step, counts, [*edges]) == (3, [1.0, 5.0, 0.0], [-2, 0, 1, 9])

    def test_after_a_rewind_each_step_is_there_once(self, name, run, wandb):
        log_and_resume([name], run, resumed_from=5)
        assert READERS[name](run, wandb)["train/loss"] == LOSSES

    def test_rewinding_an_open_tracker_and_twice(self, name, run, wandb):
        tracker = open_trackers([name], run)
        log_steps(tracker, 1, 5)
        tracker.rewind(3)
        tracker.rewind(3)
        log_steps(tracker, 4, 6)
        tracker.close()
        assert READERS[name](run, wandb)["train/loss"] == LOSSES[:6]

    def test_rewinding_before_anything_was_logged(self, name, run, wandb):
        tracker = open_trackers([name], run)
        tracker.rewind(0)
        tracker.log(1, {"train/loss": 1.0})
        tracker.close()
        assert READERS[name](run, wandb)["train/loss"] == [(1, 1.0)]

    @pytest.mark.filterwarnings("ignore")
    def test_nan_and_infinity_do_no_harm(self, name, run, wandb):
        tracker = open_trackers([name], run)
        tracker.log(1, {"train/loss": math.nan, "train/perplexity": math.inf})
        tracker.log(2, {"train/loss": 0.5, "train/perplexity": 2.0})
        tracker.close()
        assert READERS[name](run, wandb)["train/loss"][-1] == (2, 0.5)

    def test_closing_twice_and_unused_is_fine(self, name, run, wandb):
        tracker = open_trackers([name], run)
        tracker.close()
        tracker.log(1, {"a": 1.0})
        tracker.close()
        tracker.close()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_one_line(name, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(YxanulError, match=rf"'{name}' is not installed.*yxanul\[track\]"):
        open_trackers([name], run)


def test_several_at_once(run, wandb):
    tracker = open_trackers(["jsonl", "wandb"], run)
    tracker.log(1, {"a": 1.0})
    tracker.text(1, "b", "c")
    tracker.close()
    assert read_jsonl(run, wandb)["a"] == read_wandb(run, wandb)["a"] == [(1, 1.0)]


def test_an_unknown_tracker_is_named(run):
    with pytest.raises(YxanulError, match=r"'jsonk'.*'jsonl'\?"):
        open_trackers(["jsonk"], run)


@pytest.mark.parametrize("resumed_from", [9, 5])
def test_an_offline_piece_of_wandb_that_a_resume_begins_holds_the_whole_run(
    run, wandb, resumed_from
):
    wandb.offline = True
    log_and_resume(["wandb", "jsonl"], run, resumed_from)
    assert read_wandb(run, wandb)["train/loss"] == LOSSES


def test_wandb_has_the_recipe_and_the_best_values_of_a_run(run, wandb):
    run.path.mkdir(parents=True)
    run.recipe.write_text("seed: 3\n")
    tracker = open_trackers(["wandb"], run)
    log_steps(tracker, 1, 1)
    tracker.close()
    (fake,) = wandb.runs.values()
    assert fake.config == {"seed": 3} and fake.summaries["val/loss"] == "min"


@pytest.mark.parametrize("when", ["init", "log"])
def test_a_tracker_that_fails_is_warned_of_once_and_left_out(run, wandb, monkeypatch, when):
    def fail(*_, **__):
        raise RuntimeError("no network")

    ui, log = RecordingUi(), wandb._log
    if when == "init":
        monkeypatch.setattr(wandb, "init", fail)
    else:
        monkeypatch.setattr(
            wandb, "_log", lambda run, values, step: fail() if step == 2 else log(run, values, step)
        )
    tracker = open_trackers(["wandb", "tensorboard", "jsonl"], run, ui)
    log_steps(tracker, 1, 4)
    tracker.close()
    assert [line for line in ui.warnings if "tracker wandb" in line] == ui.warnings
    assert len(ui.warnings) == 1 and "RuntimeError: no network" in ui.warnings[0]
    assert len(read_wandb(run, wandb).get("train/loss", [])) == (0 if when == "init" else 1)
    for reader in (read_jsonl, read_tensorboard):
        assert len(reader(run, wandb)["train/loss"]) == 4


def test_a_tracker_that_hangs_holds_nobody_up(run, wandb, monkeypatch):
    until = threading.Event()
    monkeypatch.setattr(wandb, "init", lambda **_: until.wait())
    monkeypatch.setattr("yxanul.monitor.trackers.multi.CLOSE_SECONDS", 0.0)
    monkeypatch.setattr("yxanul.monitor.trackers.multi.MOST_WAITING", 3)
    ui = RecordingUi()
    tracker = open_trackers(["wandb", "jsonl"], run, ui)
    log_steps(tracker, 1, 9)
    tracker.close()
    until.set()
    assert len(ui.warnings) == 1 and len(read_jsonl(run, wandb)["train/loss"]) == 9
