"""What a machine decides, and that a run keeps it."""

import math
import shutil
from functools import partial

import pytest
import torch

from recipes import TINY, write_tiny
from running import assert_same_run, call
from yxanul.base.clock import Startup
from yxanul.base.errors import Interrupted, YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.model.count import flops_per_token
from yxanul.model.language_model import LanguageModel
from yxanul.model.zoo import PRESETS
from yxanul.recipe import dump_recipe, load_recipe, load_with_preset
from yxanul.stages import measure
from yxanul.stages.ledger import Ledger
from yxanul.stages.resume import open_run
from yxanul.stages.runner import run_stages
from yxanul.train.config import PRECISIONS_OF

TIMED = (
    TINY.replace(
        "{width: 32, depth: 2, num_heads: 2, num_kv_heads: 1, ffn_width: 64, max_seq_len: 64}",
        "{preset: auto}",
    )
    .replace("peak_lr: 1e-2, ", "")
    .replace("budget: {steps: 14}", "budget: {minutes: 2}")
    .replace("budget: {tokens: 2560}", "budget: {minutes: 0.5}")
)


def compare(path, monkeypatch, flops_per_second, *overrides, text_tokens=math.inf):
    """Compare presets on a machine that does so many FLOP/s whatever the model."""

    def speed(recipe, shape):
        return flops_per_second / flops_per_token(shape, 64).total

    monkeypatch.setattr(measure, "measure_speed", speed)
    with_preset = partial(load_with_preset, str(path), overrides, None)
    return measure.compare_presets(with_preset, text_tokens=text_tokens)


def test_a_faster_machine_trains_a_larger_model(tmp_path, monkeypatch):
    path = write_tiny(tmp_path, TIMED)
    chosen = [
        measure.best_preset(compare(path, monkeypatch, 10.0**power)) for power in range(9, 18)
    ]
    places = [measure.AUTO_PRESETS.index(preset) for preset in chosen]
    assert chosen[0] == "nano" and chosen[-1] == measure.AUTO_PRESETS[-1]
    assert places == sorted(places) and len(set(chosen)) >= 5


def test_a_text_that_is_read_often_gets_a_smaller_model(tmp_path, monkeypatch):
    path = write_tiny(tmp_path, TIMED)
    sizes = (1e5, 1e7, 1e8, 1e9, 1e10)
    compared = [compare(path, monkeypatch, 1e14, text_tokens=size) for size in sizes]
    places = [measure.AUTO_PRESETS.index(measure.best_preset(found)) for found in compared]
    assert places == sorted(places) and len(set(places)) >= 3 and places[0] == 0
    new_text = compare(path, monkeypatch, 1e14)
    assert [one.loss for one in compared[-1]] == [one.loss for one in new_text]
    assert "epochs)" in measure.describe_presets(compared[0])
    assert "epochs)" not in measure.describe_presets(compared[-1])


def test_minutes_count_as_speed_does(tmp_path, monkeypatch):
    path = write_tiny(tmp_path, TIMED)
    longer = [f"stages.{index}.budget={{minutes: {time}}}" for index, time in enumerate((20, 5))]
    slow = compare(path, monkeypatch, 1e12, *longer)
    for one, other in zip(slow, compare(path, monkeypatch, 1e13), strict=True):
        assert one.preset == other.preset and one.tokens == pytest.approx(other.tokens)


def test_the_line_names_the_next_smaller_and_the_next_larger_preset(tmp_path, monkeypatch):
    candidates = compare(write_tiny(tmp_path, TIMED), monkeypatch, 1e13)
    best = measure.best_preset(candidates)
    line, place = measure.describe_presets(candidates), measure.AUTO_PRESETS.index(best)
    words = set(line.replace(",", "").split())
    assert place > 0 and words & set(measure.AUTO_PRESETS) == set(
        measure.AUTO_PRESETS[place - 1 : place + 2]
    )


def test_the_smallest_of_equal_presets_is_chosen():
    candidates = [measure.Candidate("nano", 9, 0, 2.0), measure.Candidate("5x192", 5, 0, 1.9999)]
    assert measure.best_preset(candidates) == "nano"
    assert "expected loss the same with 5x192 (5)" in measure.describe_presets(candidates)


def test_a_preset_that_does_not_fit_into_memory_is_not_chosen(tmp_path, monkeypatch):
    def speed(recipe, shape):
        if shape.width > 256:
            raise YxanulError("phase 0 does not fit in memory")
        return 1e9

    monkeypatch.setattr(measure, "measure_speed", speed)
    path = write_tiny(tmp_path, TIMED)
    candidates = measure.compare_presets(partial(load_with_preset, str(path), (), None))
    assert measure.best_preset(candidates) == "micro"


def test_a_preset_that_the_recipe_rules_out_is_passed_over(tmp_path, monkeypatch):
    path = write_tiny(tmp_path, TIMED)  # 5x192 has three heads
    candidates = compare(path, monkeypatch, 1e14, "model.num_kv_heads=2")
    assert [one.preset for one in candidates][:2] == ["nano", "micro"]


def test_a_resolved_recipe_leaves_the_choice_open(tmp_path):
    path = tmp_path / "resolved.yaml"
    path.write_text(dump_recipe(load_recipe(str(write_tiny(tmp_path, TIMED)), ["model.depth=3"])))
    model = load_with_preset(str(path), (), None, "nano").model
    assert (model.width, model.depth) == (PRESETS["nano"]["width"], 3)


def test_no_device_is_no_lack_of_memory(tmp_path, monkeypatch):
    def speed(recipe, shape):
        raise YxanulError("no GPU was found")

    monkeypatch.setattr(measure, "measure_speed", speed)
    path = write_tiny(tmp_path, TIMED)
    with pytest.raises(YxanulError, match="no GPU"):
        measure.compare_presets(partial(load_with_preset, str(path), (), None))


def test_steps_of_presets_are_timed(tmp_path):
    path = write_tiny(tmp_path, TIMED)
    candidates = measure.compare_presets(partial(load_with_preset, str(path), (), None))
    assert candidates[0].preset == "nano" and candidates[0].tokens > 0


def test_without_minutes_nothing_is_measured(tmp_path, monkeypatch):
    path = str(write_tiny(tmp_path, TIMED))
    monkeypatch.setattr(measure, "measure_speed", lambda *_: pytest.fail("measured"))
    in_steps = [f"stages.{index}.budget={{steps: 5}}" for index in range(2)]
    candidates = measure.compare_presets(partial(load_with_preset, path, in_steps, None))
    assert candidates == [] and measure.best_preset([]) == "micro"


def test_the_preset_is_chosen_when_training_starts_and_then_kept(tmp_path, monkeypatch):
    recipe, run = write_tiny(tmp_path, TINY), RunFolder(tmp_path / "run")
    order = (recipe, "model.preset=auto", "--out", run.path)

    def preset():
        return load_recipe(str(run.recipe)).model.preset

    assert call("prepare", *order).code == 0 and preset() == "auto"
    assert call("train", *order).code == 0 and preset() == "micro"
    monkeypatch.setattr(measure, "compare_presets", lambda *_: pytest.fail("measured again"))
    again = call("train", *order)
    assert again.code == 0 and preset() == "micro" and "changed" not in again.err
    repeated = RunFolder(tmp_path / "repeated")
    repeated.path.mkdir()
    shutil.copy(run.ledger, repeated.ledger)
    assert call("run", recipe, "model.preset=auto", "--out", repeated.path).code == 0
    assert load_recipe(str(repeated.recipe)).model.preset == "micro"


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
    measure.decide_threads(ledger, cpu, 1, SilentUi())
    monkeypatch.setattr(measure, "best_num_threads", lambda: pytest.fail("measured"))
    measure.decide_threads(Ledger.open(ledger.path), cpu, 1, SilentUi())
    assert counts == [2, 2]
    monkeypatch.setattr(measure, "usual_num_threads", lambda: 1)  # a smaller machine
    measure.decide_threads(Ledger.open(ledger.path), cpu, 1, SilentUi())
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


def test_a_precision_that_another_strategy_lacks_is_decided_again(tmp_path, monkeypatch):
    recipe = load_recipe(str(write_tiny(tmp_path)), ["train={precision: auto, strategy: fsdp}"])
    ledger = Ledger(tmp_path / "ledger.json", {"asked_precision": "auto", "precision": "fp8"})
    model = LanguageModel(recipe.model.resolved(64))
    decided = partial(measure.decide_precision, ledger, recipe, model, ui=SilentUi())
    assert decided(processes=1) == "fp8"
    assert decided(processes=2) in PRECISIONS_OF["fsdp"]
