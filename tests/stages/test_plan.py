import copy
from types import SimpleNamespace

import pytest
import torch

from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.optim.config import OptimSettings
from yxanul.stages import measure
from yxanul.stages import plan as budget
from yxanul.stages.config import Budget, StageSettings
from yxanul.stages.ledger import Action, Entry
from yxanul.train.config import TrainSettings
from yxanul.train.mixed_precision.weights import MixedPrecision

RECIPE = SimpleNamespace(
    optim=OptimSettings(peak_lr=1e-2, grad_clip=0.9), train=TrainSettings(batch_tokens=256)
)


def stage(*curriculum):
    return StageSettings(
        name="one",
        mix={"a": 1.0},
        budget=Budget(minutes=1),
        curriculum=curriculum or ({"seq_len": 32},),
    )


def test_steps_and_tokens_become_plans_with_the_clip_of_the_recipe():
    plan = budget.make_stage_plan(RECIPE, stage(), steps=7)
    assert (plan.total_steps, plan.total_tokens) == (7, 7 * 256)
    assert plan.phases[0].clip == 0.9
    assert budget.make_stage_plan(RECIPE, stage(), tokens=257).total_steps == 2


def test_actions_of_another_budget_do_not_count_even_if_one_begins_where_it_ends():
    actions = [Action("extend", step, i, 5 * 256) for i, step in enumerate((10, 15, 20))]
    entry = Entry("one", "failed", 0, 0, 0, {}, actions=actions)
    for steps, total in ((10, 25), (15, 15), (20, 20)):
        one = stage().model_copy(update={"budget": Budget(steps=steps)})
        plan = budget.resolve_plan(RECIPE, one, entry, {}, bounded=False)
        assert plan.total_steps == total


@pytest.mark.parametrize(
    ("mix", "tokens"),
    [
        ({"a": 1.0}, 1000),
        ({"a": 0.5, "b": 0.5}, 800),
        ({"a": 3, "b": 1}, 1333),
        ({"a": 1.0, "c": 0.0}, 1000),
    ],
)
def test_an_epoch_ends_when_the_first_source_was_seen_once(mix, tokens):
    one = stage().model_copy(update={"mix": mix, "budget": Budget(epochs=1)})
    assert budget.epochs_of(one, {"a": 1000, "b": 400, "c": 10}) == (mix, tokens)


def test_epochs_by_source_make_the_mix_and_no_passes_leave_a_source_out():
    by_source = Budget(epochs={"a": 1.5, "b": 0})
    one = StageSettings(name="one", budget=by_source, curriculum=({"seq_len": 32},))
    assert budget.epochs_of(one, {"a": 2048}) == ({"a": 3072.0}, 3072)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_timing_a_step_leaves_the_model_as_it_was(precision, optimizer):
    settings = ModelSettings(width=16, depth=1, num_heads=2, max_seq_len=32, vocab_size=40)
    model = LanguageModel(settings)
    model.init_weights(torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    optim = OptimSettings(name=optimizer, peak_lr=1.0)
    (phase,) = budget.make_stage_plan(RECIPE, stage(), steps=1).phases
    trial = copy.deepcopy(MixedPrecision(model, precision))
    assert measure.step_seconds(trial, optim, phase, seconds=0.0) > 0
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
