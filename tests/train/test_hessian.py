import copy

import pytest
import torch

from steps import StreamFeed, change_gradients
from yxanul.data.batches import IGNORE
from yxanul.optim.config import OptimSettings
from yxanul.train import hessian as module
from yxanul.train.hessian import HessianEstimator, draw_targets

OPTIM = OptimSettings(name="sophia", peak_lr=1e-3, hessian_steps=3, schedule={"name": "constant"})


@pytest.fixture
def make_curious(make_trainer):
    """A function that makes a trainer of Sophia with its estimates."""

    def make(*phases, **fields):
        trainer = make_trainer(*phases, optim=OPTIM, **fields)
        trainer.hessian = HessianEstimator(trainer.engine.optimizer, trainer.engine, seed=3)
        return trainer

    return make


def first_batch(trainer):
    return trainer.fetch(trainer.plan.phases[0])[0][0]


def curvatures(trainer):
    return [
        trainer.engine.optimizer.state[p]["curvature"].clone()
        for p in trainer.engine.trained().values()
    ]


def test_the_estimate_is_the_squared_gradient_of_drawn_targets(make_curious, monkeypatch):
    trainer = make_curious()
    batch, drawn = first_batch(trainer), []

    def remember(*given):
        drawn.append(draw_targets(*given))
        return drawn[-1]

    monkeypatch.setattr(module, "draw_targets", remember)
    trainer.hessian.estimate(batch, 0)
    model = copy.deepcopy(trainer.engine.mixed_precision.master_model)
    logits = model.logits(model.hidden(batch.ids_BT, batch.documents_BT))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), drawn[0].flatten()).backward()
    for found, parameter in zip(curvatures(trainer), model.parameters(), strict=True):
        wanted = 0.01 * drawn[0].numel() * parameter.grad.square()
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-9)
    assert all(weight.grad is None for weight in trainer.engine.trained().values())


def test_targets_are_drawn_as_the_model_predicts(make_curious, monkeypatch):
    trainer = make_curious()
    model, batch = trainer.engine.mixed_precision.model, first_batch(trainer)
    with torch.no_grad():
        model.embedding.tokens.mul_(20)
        shares = model.logits(model.hidden(batch.ids_BT, batch.documents_BT)).softmax(-1)
    generator, counts = torch.Generator().manual_seed(1), torch.zeros_like(shares)
    monkeypatch.setattr(module, "LOGIT_BYTES", 4 * 16 * 5)  # five rows at a time, 32 in all
    for _ in range(800):
        drawn = draw_targets(model, batch, generator)
        counts += torch.nn.functional.one_hot(drawn, shares.shape[-1])
    assert shares.max() > 0.5
    assert (counts / 800 - shares).abs().max() < 0.1


def test_targets_that_are_not_scored_stay_so(make_curious, random_stream):
    loader = StreamFeed(random_stream, lambda start, length: 3)
    trainer = make_curious(loader=loader)
    batch = first_batch(trainer)
    drawn = draw_targets(
        trainer.engine.mixed_precision.model, batch, torch.Generator().manual_seed(1)
    )
    assert torch.equal(drawn == IGNORE, batch.targets_BT == IGNORE)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_estimate_is_due_every_so_many_steps(make_curious, make_phase, precision):
    trainer, seen = make_curious(make_phase(num_steps=8), precision=precision), []
    see = trainer.engine.optimizer.update_hessian
    trainer.engine.optimizer.update_hessian = lambda count: (
        seen.append(trainer.progress.step) or see(count)
    )
    trainer.run()
    assert seen == [0, 3, 6]
    assert all(curvature.any() for curvature in curvatures(trainer))
    assert all(report.applied for report in trainer.reports)


def test_the_draw_depends_on_seed_and_step_alone(make_curious):
    found = []
    for step in (0, 0, 1):
        trainer = make_curious()
        torch.rand(step + len(found))  # whoever else draws numbers changes nothing
        trainer.hessian.estimate(first_batch(trainer), step)
        found.append(curvatures(trainer))
    same = [torch.equal(a, b) for a, b in zip(found[0], found[1], strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(found[0], found[2], strict=True))


def test_what_is_not_finite_is_not_seen(make_curious):
    trainer = make_curious()
    hook = change_gradients(trainer, lambda gradient: gradient * torch.nan)
    trainer.hessian.estimate(first_batch(trainer), 0)
    hook.remove()
    assert not trainer.engine.optimizer.state
    model = trainer.engine.mixed_precision.model
    assert all(weight.grad is None for weight in model.parameters())
