"""A step found again from its plan reads what the trainer read."""

import shutil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recipes import TINY, write_tiny
from running import newest
from sessions import train
from yxanul.base.errors import YxanulError
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi
from yxanul.checkpoint.read import read_checkpoint
from yxanul.data.mix import MixCursor, plan_rows
from yxanul.inspect.look import Look
from yxanul.inspect.target import TokenizerFinder, find_target
from yxanul.recipe import load_recipe
from yxanul.stages.replay import locate_step, skip_rows
from yxanul.train.curriculum import Phase
from yxanul.train.trainer import Trainer

# A bound that is reached, mixes by phase, and epochs: all that a plan can be made of.
THREE = (
    TINY.replace("domain: math, documents: 120", "domain: math, documents: 120, max_epochs: 0.06")
    .replace("batch_tokens: 256", "batch_tokens: 256\n  micro_batch_size: 3")
    .replace(
        "eval: {",
        """  - name: three
    mix: {math: 0.3, stories: 0.7}
    budget: {epochs: 0.03}
    curriculum:
      - {seq_len: 16, from_step: 0}
      - {seq_len: 64, from_step: 2}
    gate: {default_rules: false}
eval: {""",
    )
    .replace("rules: [{metric: val/*/perplexity, against: best, at_most: 9}]", "rules: []")
    .replace("lr_scale: 0.5, grad_clip: 0.7}", "lr_scale: 0.5}\n    gate: {default_rules: false}")
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, and the micro-batches that each of its steps was given."""
    folder = tmp_path_factory.mktemp("steps")
    recipe = load_recipe(str(write_tiny(folder, THREE)))
    seen, fetch = [], Trainer.fetch

    def noting(self, phase):
        batches, cursor = fetch(self, phase)
        seen.append((self.progress.stage, phase, batches))
        return batches, cursor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "fetch", noting)
        return train(recipe, folder / "run").run, recipe, seen


def look_at(run):
    place = find_target(run.path, SilentUi())
    return Look(place, TokenizerFinder(place, None), with_ids=True)


def same_as_trained(facts, stage, phase, batches):
    assert (facts["stage"], facts["mix"], facts["phase"]) == (stage, phase.mix, phase.index)
    rows = iter(facts["rows"])
    for place, batch in enumerate(batches):
        for ids, targets, documents in zip(
            batch.ids_BT, batch.targets_BT, batch.documents_BT, strict=True
        ):
            row = next(rows)
            assert row["micro_batch"] == place
            assert [i for one in row["documents"] for i in one["ids"]] == ids.tolist()
            assert row["target"]["id"] == targets[-1]
            lengths = documents.bincount().tolist()
            assert [one["tokens"] for one in row["documents"]] == lengths
            assert all(one["begins"] for one in row["documents"][1:])
    assert next(rows, None) is None


def test_every_step_is_what_the_trainer_read(trained):
    run, _, seen = trained
    look = look_at(run)
    assert {stage for stage, *_ in seen} == {"one", "two", "three"}
    mixes = {tuple(phase.mix) for stage, phase, _ in seen if stage != "one"}
    assert len(mixes) > 1, "the bound was not reached"
    for number, (stage, phase, batches) in enumerate(seen, 1):
        same_as_trained(look.step(number, None, None), stage, phase, batches)


def test_steps_are_found_without_checkpoints_and_ledger(trained, tmp_path):
    run, _, seen = trained
    shutil.copytree(run.path, tmp_path / "run")
    copy = RunFolder(tmp_path / "run")
    shutil.rmtree(copy.checkpoints)
    copy.ledger.unlink()
    look = look_at(copy)
    for number, (stage, phase, batches) in enumerate(seen, 1):
        if number % 3 == 1:
            facts = look.step(number, None, None)
            same_as_trained(facts, stage, phase, batches)


def test_a_stage_that_goes_on_under_another_budget_goes_on_from_its_checkpoint(trained):
    """What lies behind a checkpoint is not planned anew."""
    run, recipe, seen = trained
    last = recipe.stages[-1]
    budget = last.budget.model_copy(update={"epochs": None, "steps": 40})
    phases = (last.curriculum[1].model_copy(update={"from_step": None}),)
    longer = last.model_copy(update={"budget": budget, "curriculum": phases})
    changed = recipe.model_copy(update={"stages": (*recipe.stages[:-1], longer)})
    found = locate_step(run, changed, len(seen) + 1)
    _, state = read_checkpoint(newest(run.path), only=())
    positions = state["progress"]["cursor"]["positions"]
    assert found.rows[0].start == positions[found.rows[0].source]


def test_ranges_are_said(trained):
    run, recipe, seen = trained
    for step in (0, -3, len(seen) + 1):
        with pytest.raises(YxanulError, match=rf"no step {step}; expected 1 to {len(seen)}$"):
            locate_step(run, recipe, step)


def test_minutes_are_known_once_they_are_measured(trained, tmp_path):
    run, recipe, _ = trained
    budget = recipe.stages[1].budget.model_copy(update={"tokens": None, "minutes": 3.0})
    timed = recipe.stages[1].model_copy(update={"budget": budget})
    changed = recipe.model_copy(update={"stages": (recipe.stages[0], timed)})
    assert locate_step(run, changed, 14).stage == "one"
    with pytest.raises(YxanulError, match=r"stage 'two' .*minutes.*1 to 14"):
        locate_step(run, changed, 15)
    ledger = run.ledger.read_text().replace('"minutes": null', '"minutes": 3.0')
    other = RunFolder(tmp_path)
    other.ledger.write_text(ledger.replace('"minutes_tokens": null', '"minutes_tokens": 5120'))
    (tmp_path / "data").symlink_to(run.data(None))
    assert locate_step(other, changed, 15).plan.total_tokens == 5120


weights = st.dictionaries(
    st.sampled_from("abcd"), st.sampled_from([0.1, 0.25, 0.333, 1.0, 2.0]), min_size=1
)


@settings(max_examples=15, deadline=None)
@given(
    weights,
    weights,
    st.sampled_from([0, 1, 7, 100]),
    st.sampled_from([1, 177, 5_000]),
    st.sampled_from([32, 1 << 20]),
)
@example({"a": 0.1, "b": 1.0}, {"a": 1.0, "b": 1.0}, 1, 47_123, 1 << 20)
def test_skipping_is_walking(first, second, rows_before, rows, seq_len_before):
    """Also where a mix begins with the debts of another one, of many rows if need be."""
    _, start = plan_rows(MixCursor(), first, rows_before, seq_len_before)
    phase = Phase(0, 64, 8, 8, 0, 1, 1.0, None, second)
    assert skip_rows(start, phase, rows) == plan_rows(start, second, rows, 64)[1]
