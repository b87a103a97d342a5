"""What a machine decides, and that a run keeps it."""

import pytest
import torch

from recipes import TINY, write_tiny
from running import assert_same_run, call
from yxanul.base.errors import Interrupted
from yxanul.base.run_folder import RunFolder
from yxanul.base.startup import Startup
from yxanul.base.ui import SilentUi
from yxanul.monitor.peak_flops import Peak
from yxanul.recipe import load_recipe
from yxanul.stages import measure
from yxanul.stages.ledger import Ledger
from yxanul.stages.resume import open_run
from yxanul.stages.runner import run_stages

TIMED = (
    TINY.replace(
        "{width: 32, depth: 2, num_heads: 2, num_kv_heads: 1, ffn_width: 64, max_seq_len: 64}",
        "{preset: auto}",
    )
    .replace("peak_lr: 1e-2, ", "")
    .replace("budget: {steps: 14}", "budget: {minutes: 2}")
    .replace("budget: {tokens: 2560}", "budget: {minutes: 0.5}")
)


def decide(path, *overrides):
    return measure.decide_preset(
        lambda preset: load_recipe(path, [*overrides, f"model.preset={preset}"]), SilentUi()
    )


@pytest.mark.parametrize(("gigaflops", "preset"), [(20, "nano"), (2000, "nano"), (20_000, "micro")])
def test_the_model_is_one_that_there_is_time_for(tmp_path, monkeypatch, gigaflops, preset):
    path, peak_flops = str(write_tiny(tmp_path, TIMED)), Peak(gigaflops * 1e9, "measured")
    monkeypatch.setattr(measure, "precision_peak", lambda device, precision: peak_flops)
    assert decide(path) == load_recipe(path, [f"model.preset={preset}"])


def test_without_minutes_nothing_is_measured(tmp_path, monkeypatch):
    path = str(write_tiny(tmp_path, TIMED))
    monkeypatch.setattr(measure, "precision_peak", lambda *_: pytest.fail("measured"))
    in_steps = [f"stages.{index}.budget={{steps: 5}}" for index in range(2)]
    assert decide(path, *in_steps).model.preset == "micro"


def test_the_model_is_chosen_by_who_trains_and_then_kept(tmp_path, monkeypatch):
    recipe, run = write_tiny(tmp_path, TINY), RunFolder(tmp_path / "run")
    order = (recipe, "model.preset=auto", "--out", run.path)

    def preset():
        return load_recipe(str(run.recipe)).model.preset

    assert call("prepare", *order).code == 0 and preset() == "auto"
    assert call("train", *order).code == 0 and preset() == "micro"
    monkeypatch.setattr(measure, "AUTO_PRESETS", ("nano",))
    again = call("train", *order)
    assert again.code == 0 and preset() == "micro" and "changed" not in again.err


def test_the_whole_measurement_of_arithmetic_is_two_short_ones():
    from yxanul.monitor import peak_flops

    assert 2 * peak_flops.MEASURED_SECONDS < 0.2
    peak_flops.measure_matmul.cache_clear()
    first = peak_flops.measure_matmul(torch.device("cpu"), torch.float32)
    assert peak_flops.measure_matmul(torch.device("cpu"), torch.float32) == first


def test_a_run_keeps_its_number_of_threads(tmp_path, monkeypatch):
    counts = []
    monkeypatch.setattr(measure, "usual_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    cpu, ledger = torch.device("cpu"), Ledger(tmp_path / "ledger.json")
    monkeypatch.setattr(measure, "best_num_threads", lambda: 2)
    measure.decide_threads(ledger, cpu, SilentUi())
    monkeypatch.setattr(measure, "best_num_threads", lambda: pytest.fail("measured"))
    measure.decide_threads(Ledger.open(ledger.path), cpu, SilentUi())
    assert counts == [2, 2]
    monkeypatch.setattr(measure, "usual_num_threads", lambda: 1)  # a smaller machine
    measure.decide_threads(Ledger.open(ledger.path), cpu, SilentUi())
    assert counts == [2, 2, 1]


def test_a_run_that_goes_on_decides_nothing_anew_and_leaves_nothing_at_home(tmp_path, monkeypatch):
    """On another machine, say, with an empty cache: it is the run that was never stopped."""
    path = write_tiny(tmp_path)
    recipe = load_recipe(str(path), ["train.precision=auto"])
    assert call("run", path, "train.precision=auto", "--out", tmp_path / "straight").code == 0
    run, home = RunFolder(tmp_path / "run"), tmp_path / "home"
    stopped = open_run(recipe, run, SilentUi(), Startup(), with_prepare=True, stop_after=6)
    with pytest.raises(Interrupted), stopped as session:
        run_stages(session)
    home.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home))
    for name in ("measure_precisions", "best_num_threads"):
        monkeypatch.setattr(measure, name, lambda *_: pytest.fail("decided anew"))
    assert call("run", path, "train.precision=auto", "--out", run.path).code == 0
    assert_same_run(run.path, tmp_path / "straight")
    assert list(home.iterdir()) == []
