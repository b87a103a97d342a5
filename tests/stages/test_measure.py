"""What a machine decides, and that a run keeps it."""

import pytest
import torch

from recipes import TINY, write_tiny
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.monitor.peak import Peak
from yxanul.recipe import dump_recipe, load_recipe
from yxanul.stages import measure
from yxanul.stages.ledger import Ledger

TIMED = (
    TINY.replace(
        "{width: 32, depth: 2, num_heads: 2, num_kv_heads: 1, ffn_width: 64, max_seq_len: 64}",
        "{preset: auto}",
    )
    .replace("peak_rate: 1e-2, ", "")
    .replace("budget: {steps: 14}", "budget: {minutes: 2}")
    .replace("budget: {tokens: 2560}", "budget: {minutes: 0.5}")
)


def fit(path, run, monkeypatch, gigaflops):
    peak = Peak(gigaflops * 1e9, "measured")
    monkeypatch.setattr(measure, "precision_peak", lambda device, precision: peak)
    return measure.fit_preset(str(path), [], RunFolder(run), SilentUi())


@pytest.mark.parametrize(("gigaflops", "preset"), [(20, "nano"), (2000, "nano"), (20_000, "micro")])
def test_the_model_is_one_that_there_is_time_for(tmp_path, monkeypatch, gigaflops, preset):
    path = write_tiny(tmp_path, TIMED)
    recipe = fit(path, tmp_path / "run", monkeypatch, gigaflops)
    assert recipe == load_recipe(str(path), [f"model.preset={preset}"])


def test_a_run_keeps_its_model_wherever_it_goes_on(tmp_path, monkeypatch):
    path, run = write_tiny(tmp_path, TIMED), RunFolder(tmp_path / "run")
    begun = fit(path, run.path, monkeypatch, 20)
    run.path.mkdir()
    run.recipe.write_text(dump_recipe(begun))
    assert fit(path, run.path, monkeypatch, 20_000) == begun


@pytest.mark.parametrize("change", [["stages.0.budget={steps: 5}"], []])
def test_without_minutes_or_among_processes_nothing_is_measured(tmp_path, monkeypatch, change):
    path = write_tiny(tmp_path, TIMED)
    if not change:
        monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(measure, "precision_peak", lambda *_: pytest.fail("measured"))
    recipe = measure.fit_preset(str(path), change, RunFolder(tmp_path / "run"), SilentUi())
    assert recipe.model.preset == "micro"


def test_the_whole_measurement_of_arithmetic_is_two_short_ones():
    from yxanul.monitor import peak

    assert 2 * peak.MEASURED_SECONDS < 0.2
    peak.measure_matmul.cache_clear()
    first = peak.measure_matmul(torch.device("cpu"), torch.float32)
    assert peak.measure_matmul(torch.device("cpu"), torch.float32) == first


def test_a_run_keeps_its_number_of_threads(tmp_path, monkeypatch):
    counts = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    cpu, ledger = torch.device("cpu"), Ledger(tmp_path / "ledger.json")
    monkeypatch.setattr(measure, "best_num_threads", lambda: 2)
    measure.decide_threads(ledger, cpu, SilentUi())
    monkeypatch.setattr(measure, "best_num_threads", lambda: pytest.fail("measured"))
    measure.decide_threads(Ledger.open(ledger.path), cpu, SilentUi())
    assert counts == [2, 2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # a smaller machine
    measure.decide_threads(Ledger.open(ledger.path), cpu, SilentUi())
    assert counts == [2, 2]
