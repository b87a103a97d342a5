"""fp8 by Transformer Engine, of which there is a stand-in here: its real one needs its GPUs."""

import contextlib
import copy
import sys
import types

import pytest
import torch
from torch import nn

from steps import Steps, counting, gradients, make_model
from yxanul.base.errors import YxanulError
from yxanul.train.mixed_precision import fp8
from yxanul.train.mixed_precision.config import Fp8Settings
from yxanul.train.mixed_precision.weights import MixedPrecision

SETTINGS = Fp8Settings(engine="transformer_engine")
PROJECTIONS = fp8.projection_modules(make_model())


class Standin:
    """Records for each pass of a layer whether autocast was on, and how many rows it had."""

    def __init__(self):
        self.on, self.passes, self.rows, self.entered = 0, [], [], []
        te = types.ModuleType("transformer_engine.pytorch")
        te.Linear = self.linear()
        te.autocast = lambda enabled, recipe: self.autocast(enabled, recipe)
        common = types.ModuleType("transformer_engine.common")
        common.recipe = types.ModuleType("transformer_engine.common.recipe")
        common.recipe.Float8CurrentScaling = lambda: "current"
        package = types.ModuleType("transformer_engine")
        package.pytorch, package.common = te, common
        self.modules = {m.__name__: m for m in (package, te, common, common.recipe)}

    @contextlib.contextmanager
    def autocast(self, enabled, recipe):
        self.entered.append((enabled, recipe))
        self.on += 1
        try:
            yield
        finally:
            self.on -= 1

    def linear(self):
        noted = self

        class Product(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, weight):
                noted.passes.append(("forward", noted.on > 0))
                noted.rows.append(x.flatten(0, -2).shape[0])
                ctx.save_for_backward(x, weight)
                return x @ weight.T

            @staticmethod
            def backward(ctx, grad):
                noted.passes.append(("backward", noted.on > 0))
                x, weight = ctx.saved_tensors
                return grad @ weight, grad.flatten(0, -2).T @ x.flatten(0, -2)

        class Linear(nn.Module):
            def __init__(self, width_in, width_out, bias, params_dtype, device):
                super().__init__()
                assert not bias
                empty = torch.empty(width_out, width_in, dtype=params_dtype, device=device)
                self.weight = nn.Parameter(empty)

            def forward(self, x):
                return Product.apply(x, self.weight)

        return Linear


@pytest.fixture(autouse=True)
def standin(monkeypatch):
    standin = Standin()
    for name, module in standin.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(fp8, "has_fp8", lambda device: True)
    return standin


def kinds(standin, kind):
    return [on for name, on in standin.passes if name == kind]


@pytest.mark.parametrize("checkpoint_every", [None, 1])
def test_forward_runs_inside_of_autocast_and_backward_outside(standin, checkpoint_every):
    """Also where layers are computed again in the midst of the backward pass."""
    mixed_precision = MixedPrecision(make_model(), "fp8", SETTINGS)
    mixed_precision.model.checkpoint_every = checkpoint_every
    gradients(mixed_precision, *counting(0), parts=2)
    layers = 2 * len(PROJECTIONS)
    assert kinds(standin, "forward") == [True] * layers * (2 if checkpoint_every else 1)
    assert kinds(standin, "backward") == [False] * layers
    assert set(standin.entered) == {(True, "current")} and standin.on == 0


def test_the_engine_keeps_backward_outside(standin, make_trainer):
    from yxanul.optim.config import OptimSettings
    from yxanul.train.engine import Engine

    optim = OptimSettings(peak_lr=1e-2, schedule={"name": "constant"})
    engine = Engine(MixedPrecision(make_model(), "fp8", SETTINGS))
    engine.init_optimizer(optim)
    trainer = make_trainer(engine=engine, optim=optim)
    assert trainer.step().applied
    layers = len(PROJECTIONS)
    assert kinds(standin, "forward") == [True] * layers
    assert kinds(standin, "backward") == [False] * layers


def test_evaluation_computes_in_bf16(standin):
    mixed_precision = MixedPrecision(make_model(), "fp8", SETTINGS)
    mixed_precision.model.token_scores(*counting(0))[0]
    assert kinds(standin, "forward") == [False] * len(PROJECTIONS)


def test_its_layers_stand_where_ours_were_with_the_same_weights(standin):
    mixed_precision = MixedPrecision(make_model(), "fp8", SETTINGS)
    linear = standin.modules["transformer_engine.pytorch"].Linear
    found = [
        name for name, module in mixed_precision.model.named_modules() if isinstance(module, linear)
    ]
    assert found == PROJECTIONS
    plain = MixedPrecision(make_model(), "bf16")
    pairs = zip(
        mixed_precision.model.named_parameters(), plain.model.named_parameters(), strict=True
    )
    for (name, weight), (other_name, other) in pairs:
        assert name == other_name and weight.dtype == torch.bfloat16
        assert torch.equal(weight, other)
    loss, found = gradients(mixed_precision, *counting(0))
    other_loss, expected = gradients(plain, *counting(0))
    assert loss == other_loss
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=1e-4)


def test_rows_are_padded_to_what_its_kernels_take(standin):
    ids, targets = counting(0, rows=3, length=7)
    loss, found = gradients(MixedPrecision(make_model(), "fp8", SETTINGS), ids, targets)
    assert set(standin.rows) == {32}
    other_loss, expected = gradients(MixedPrecision(make_model(), "bf16"), ids, targets)
    assert loss == pytest.approx(other_loss, abs=1e-4)
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=1e-3)


def test_counting_is_learnt_and_a_copy_trains_alone(standin):
    run = Steps("fp8", fp8=SETTINGS)
    losses = [run.step()[0] for _ in range(40)]
    assert losses[-1] < 0.2
    other = copy.deepcopy(run)
    standin.passes.clear()
    other.step()
    assert all(kinds(standin, "forward")) and not any(kinds(standin, "backward"))


def test_without_the_package_or_its_gpus_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setattr(fp8, "has_fp8", lambda device: False)
    with pytest.raises(YxanulError, match=r"requires a GPU with fp8; got cpu; torchao"):
        MixedPrecision(make_model(), "fp8", SETTINGS)
    monkeypatch.setattr(fp8, "has_fp8", lambda device: True)
    monkeypatch.setitem(sys.modules, "transformer_engine.pytorch", None)
    with pytest.raises(YxanulError, match=r"'transformer_engine' cannot be imported.*pip install"):
        MixedPrecision(make_model(), "fp8", SETTINGS)
