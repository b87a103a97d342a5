"""A run that is stopped and goes on is, to the bit, the run that was never stopped."""

import json
import shutil
from unittest.mock import Mock

import pytest

from recipes import TINY, write_tiny
from running import assert_same_run, newest
from sessions import RecordingUi, tensors_of, train
from yxanul.base.errors import YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.checkpoint.read import read_checkpoint
from yxanul.recipe import load_recipe
from yxanul.stages.data import prepare
from yxanul.stages.ledger import Entry
from yxanul.stages.resume import effect_of, reconcile_recipe
from yxanul.stages.runner import run_stage
from yxanul.stages.session import build_session


def go(recipe, folder, steps=None, ui=None):
    """Train in `folder`, to the end or so many steps."""
    return train(recipe, folder, steps, ui).run


def progress_of(run):
    return read_checkpoint(newest(run.path), only=())[1]["progress"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return load_recipe(str(write_tiny(tmp_path_factory.mktemp("recipe"))))


@pytest.fixture(scope="module")
def straight(recipe, tmp_path_factory):
    return go(recipe, tmp_path_factory.mktemp("straight"))


@pytest.fixture
def prepared_folder(straight, tmp_path):
    """A run folder with tokenizer and shards, so that only training is repeated."""
    for name in ("tokenizer.json", "recipe.yaml"):
        shutil.copy(straight.path / name, tmp_path / name)
    shutil.copytree(straight.data(None), tmp_path / "data")
    return tmp_path


@pytest.fixture
def passed(straight, tmp_path):
    """A copy of the finished run."""
    return RunFolder(shutil.copytree(straight.path, tmp_path / "passed"))


STOPS = [[1, 6, 7, 1, 8], [3, 10]]
"""After 1, 7, 14, 15 and 23 steps; after 3 and 13: at borders of phases and stages, and beside."""
ALONE = [[1], [3, 2], [7], [9, 3], [13], [14], [15], [18, 1, 1], [23]]


@pytest.mark.parametrize(
    "stops", [*STOPS, *(pytest.param(stops, marks=pytest.mark.slow) for stops in ALONE)], ids=str
)
def test_resumed_equals_straight_to_the_bit(recipe, straight, prepared_folder, stops):
    for steps in stops:
        go(recipe, prepared_folder, steps)
    assert_same_run(go(recipe, prepared_folder).path, straight.path)


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("muon", marks=pytest.mark.slow)])
def test_bf16_resumes_to_the_bit_too(tmp_path, optimizer):
    overrides = ["train.precision=bf16", f"optim.name={optimizer}", "train.micro_batch_size=3"]
    budgets = [f"stages.{stage}.budget={{steps: {steps}}}" for stage, steps in enumerate((6, 4))]
    recipe = load_recipe(str(write_tiny(tmp_path)), [*overrides, *budgets])
    straight = go(recipe, tmp_path / "straight")
    go(recipe, tmp_path / "stopped", 5)
    assert_same_run(go(recipe, tmp_path / "stopped").path, straight.path)


@pytest.mark.parametrize(
    "optimizer",
    [
        "sophia",
        pytest.param("lion", marks=pytest.mark.slow),
        pytest.param("adafactor", marks=pytest.mark.slow),
    ],
)
def test_every_optimizer_resumes_with_a_mean_of_weights_and_spikes(tmp_path, optimizer):
    overrides = [
        f"optim.name={optimizer}",
        "optim.peak_lr=3e-3",
        "optim.ema={decay: 0.9}",
        "monitor.alerts.loss_spike=skip",
        "monitor.spikes={window_steps: 4, deviations: 1}",
        "train.max_skipped_steps=50",
    ]
    if optimizer == "sophia":
        overrides.append("optim.hessian_steps=3")
    recipe = load_recipe(str(write_tiny(tmp_path)), overrides)
    straight = go(recipe, tmp_path / "straight")
    for steps in (9, 5, 3):  # in the first stage, between the stages, in the second one
        go(recipe, tmp_path / "stopped", steps)
    assert_same_run(go(recipe, tmp_path / "stopped").path, straight.path)
    tensors, progress = tensors_of(straight), progress_of(straight)
    assert tensors["ema"].keys() == tensors["model"].keys()
    assert 0 < progress["skipped_steps"] < progress["step"]
    if optimizer == "sophia":
        curvature = [v for name, v in tensors["optimizer"].items() if name.startswith("curv")]
        assert all(value.any() for value in curvature)


def test_the_micro_batch_changes_nothing_but_rounding(recipe, straight, tmp_path):
    whole = tensors_of(straight)["model"]
    override = load_recipe(str(write_tiny(tmp_path)), ["train.micro_batch_size=1"])
    split = tensors_of(go(override, tmp_path / "run"))["model"]
    for name, tensor in whole.items():
        # Adam turns the rounding of a gradient near zero into a step of full size: a few weights
        # may differ by more than rounding, all of them together may not.
        assert (split[name] - tensor).norm() < 5e-3 * tensor.norm(), name


def test_another_recipe_says_what_differs(recipe, straight, prepared_folder, tmp_path):
    run, ui = RunFolder(prepared_folder), RecordingUi()
    ledger = json.loads(straight.ledger.read_text())
    run.ledger.write_text(json.dumps(ledger | {"stages": ledger["stages"][:1]}))
    before = run.recipe.read_text()
    for change in ("model.width=64", "optim.name=lion", "stages.0.budget.steps=15"):
        with pytest.raises(YxanulError, match=change.split("=")[0]):
            reconcile_recipe(run, load_recipe(str(write_tiny(tmp_path)), [change]), ui)
    assert run.recipe.read_text() == before
    gate = ["stages.1.gate.rules.0.at_most=8"]
    reconcile_recipe(run, load_recipe(str(write_tiny(tmp_path)), gate), ui)
    (line,) = ui.lines
    assert "stages.1.gate.rules.0.at_most: 9.0 -> 8.0; " in line and "stage 'two'" in line


def test_a_change_says_from_which_step_on_it_holds_and_for_which_stages(tmp_path):
    stage = "{name: three, mix: {math: 1}, budget: {steps: 9}, curriculum: [{seq_len: 64}]}"
    three = TINY.replace("eval:", f"  - {stage}\neval:")
    recipe = load_recipe(str(write_tiny(tmp_path, three)))
    entries = [Entry("one", "passed", 9, 14, 0, {}), Entry("two", "running", 9, 10, 14, {})]
    effect = effect_of("optim.peak_lr", recipe, entries, 20)
    assert "from step 21" in effect and "an optim.peak_lr of their own" in effect
    assert "new end" in effect_of("stages.1.budget.tokens", recipe, entries, 20)
    assert "not begun" in effect_of("stages.2.budget.steps", recipe, entries, 20)
    assert "no effect" in effect_of("stages.0.gate.rules.0.at_most", recipe, entries, 20)
    assert "from step 21" in effect_of("train.checkpoint.keep", recipe, entries, 20)
    assert "nothing is trained" in effect_of("optim.peak_lr", recipe, [], 0)


def test_what_differs_comes_to_nothing_once_all_is_trained(straight, prepared_folder, tmp_path):
    run, ui = RunFolder(prepared_folder), RecordingUi()
    shutil.copy(straight.ledger, run.ledger)
    before = run.recipe.read_text()
    reconcile_recipe(run, load_recipe(str(write_tiny(tmp_path)), ["optim.peak_lr=1e-3"]), ui)
    assert ui.lines == ["run is complete; ignoring recipe changes: optim.peak_lr: 0.01 -> 0.001"]
    assert run.recipe.read_text() == before


def test_a_budget_below_what_is_done_is_refused(recipe, prepared_folder, tmp_path):
    before = go(recipe, prepared_folder, 9).recipe.read_text()
    shorter = load_recipe(str(write_tiny(tmp_path)), ["stages.0.budget.steps=5"])
    with pytest.raises(YxanulError, match="9 steps done, 5 planned"):
        go(shorter, prepared_folder, ui=(ui := RecordingUi()))
    assert ui.warnings == [] and RunFolder(prepared_folder).recipe.read_text() == before
    assert progress_of(go(recipe, prepared_folder))["step"] == 24


def test_a_run_that_is_only_prepared_takes_any_change(recipe, prepared_folder, tmp_path):
    run, ui = RunFolder(prepared_folder), RecordingUi()
    reconcile_recipe(run, load_recipe(str(write_tiny(tmp_path)), ["model.width=64"]), ui)
    assert run.tokenizer.exists()
    changed = ["model.width=64", "data.sources.math.documents=100"]
    reconcile_recipe(run, load_recipe(str(write_tiny(tmp_path)), changed), ui)
    assert not run.tokenizer.exists() and any("rebuilding the tokenizer" in x for x in ui.lines)
    prepare(run, load_recipe(str(write_tiny(tmp_path)), changed), ui)
    assert "re-encoding math: settings changed" in ui.lines
    assert not any("re-encoding stories" in line for line in ui.lines)


def test_a_recipe_written_by_hand_is_not_overwritten(tmp_path):
    run = RunFolder(tmp_path)
    run.recipe.write_text("extends: ./tiny.yaml\nseed: 1  # mine\n")
    write_tiny(tmp_path)
    reconcile_recipe(run, load_recipe(str(run.recipe)), RecordingUi())
    with pytest.raises(YxanulError, match=r"recipe\.yaml would"):
        reconcile_recipe(run, load_recipe(str(run.recipe), ["seed=2"]), RecordingUi())
    assert run.recipe.read_text().endswith("# mine\n")


def test_each_token_is_trained_on_as_the_mix_says(straight):
    positions = progress_of(straight)["cursor"]["positions"]
    # 14 steps of stories alone, then 40 rows of 64 of which a quarter are stories
    assert positions == {"stories": 14 * 256 + 10 * 64, "math": 30 * 64}


def test_a_verdict_without_its_checkpoint_is_not_believed(recipe, straight, passed):
    ui = RecordingUi()
    (newest(passed.path) / "model.safetensors").write_bytes(b"")
    assert_same_run(go(recipe, passed.path, ui=ui).path, straight.path)
    assert any("resuming stage 'two'" in line for line in ui.lines)


def test_a_ledger_without_any_checkpoint_is_not_believed(recipe, straight, passed):
    shutil.rmtree(passed.checkpoints)
    assert_same_run(go(recipe, passed.path).path, straight.path)


def test_shards_of_other_text_are_refused(recipe, prepared_folder, tmp_path):
    other = load_recipe(
        str(write_tiny(tmp_path)), ["data.sources.stories.seed=1", f"data.folder={tmp_path}/data"]
    )
    with pytest.raises(YxanulError, match=r"'stories' .* other text"):
        build_session(RunFolder(prepared_folder), other, SilentUi(), StopRequest())


def test_a_passed_stage_cannot_be_changed(straight, tmp_path):
    for override in ("stages.0.budget={steps: 20}", "stages.0.name=uno", "stages.0.mix={math: 1}"):
        other = load_recipe(str(write_tiny(tmp_path)), [override])
        with pytest.raises(YxanulError, match=r"stages\.0\."):
            reconcile_recipe(straight, other, SilentUi())


@pytest.mark.parametrize("override", ["eval.seq_len=16", "eval.stride=8"])
def test_scores_that_gates_compare_keep_their_windows(straight, tmp_path, override):
    other = load_recipe(str(write_tiny(tmp_path)), [override])
    with pytest.raises(YxanulError, match=r"eval\.str|eval\.seq"):
        reconcile_recipe(straight, other, SilentUi())


def test_a_bound_of_repeats_may_change_until_a_stage_has_passed(recipe, prepared_folder, tmp_path):
    run, ui = RunFolder(prepared_folder), RecordingUi()
    bound = ["data.sources.math.max_epochs=9"]
    other = load_recipe(str(write_tiny(tmp_path)), bound)
    reconcile_recipe(run, other, ui)
    assert "data.sources.math.max_epochs: None -> 9" in ui.lines[0]
    prepare(run, other, ui)
    assert not any("re-encoding" in line for line in ui.lines)
    go(other, prepared_folder)
    with pytest.raises(YxanulError, match=r"math\.max_epochs"):
        reconcile_recipe(run, recipe, SilentUi())


def test_a_later_stage_waits_for_all_text(recipe):
    """Its domains are scored in full when it begins: part of their text would not be all."""
    session = Mock(recipe=recipe)
    session.data.finish.side_effect = RuntimeError("it waits")
    with pytest.raises(RuntimeError, match="it waits"):
        run_stage(session, 1)
