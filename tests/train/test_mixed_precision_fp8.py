"""fp8 by torchao, emulated here: which layers, what arithmetic, and everything around them."""

import copy
import gc
import subprocess
import sys

import pytest
import torch
from torch import nn

from recipes import write_tiny
from steps import Steps, counting, gradients, make_model, same
from yxanul.base.errors import YxanulError
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.recipe import RecipeError, load_recipe
from yxanul.train.mixed_precision import ao
from yxanul.train.mixed_precision.config import Fp8Settings, fp8_misfit
from yxanul.train.mixed_precision.fp8 import projection_modules
from yxanul.train.mixed_precision.weights import MixedPrecision

SCALINGS = ["tensorwise", "rowwise"]


def fp8_model(scaling="tensorwise", **fields):
    return MixedPrecision(make_model(**fields), "fp8", Fp8Settings(scaling=scaling))


def fp8_modules(model):
    return [name for name, module in model.named_modules() if "Float8" in type(module).__name__]


def rounded(x, axis=None):
    """What is left of a tensor in e4m3: with one scale, or one along an axis, a power of two."""
    x = x.float()
    top = x.abs().amax() if axis is None else x.abs().amax(axis, keepdim=True)
    scale = 448 / top
    if axis is not None:
        scale = torch.exp2(torch.floor(torch.log2(scale)))
    return (x * scale).to(torch.float8_e4m3fn).float() / scale


@pytest.mark.parametrize(
    ("preset", "share"), [("yxanul-177m", 0.963), ("yxanul-197m", 0.869), ("yxanul-270m", 0.437)]
)
def test_the_layers_by_name_and_their_share_of_all_parameters(preset, share):
    with torch.device("meta"):
        model = LanguageModel(ModelSettings(preset=preset))
    names = projection_modules(model)
    modules = ("attention.qkv", "attention.output", "ffn.gate_up", "ffn.down")
    assert names == [f"blocks.{layer}.{name}" for layer in range(28) for name in modules]
    in_fp8 = sum(model.get_submodule(name).weight.numel() for name in names)
    assert round(in_fp8 / sum(weight.numel() for weight in model.parameters()), 3) == share
    assert fp8_misfit(model.settings) is None


@pytest.mark.parametrize("ffn", ["swiglu", "relu2"])
@pytest.mark.parametrize("head", ["tied", "untied", "folded"])
def test_the_projections_of_the_blocks_are_in_fp8_and_nothing_else(ffn, head):
    fields = {"ffn": ffn, "head": head, "num_kv_heads": 1, "embedding_rank": None}
    if head == "folded":
        fields["embedding_rank"] = 16
    names = projection_modules(make_model(**fields))
    assert fp8_modules(fp8_model(**fields).model) == names
    assert names == [n for n, m in make_model(**fields).blocks.named_modules(prefix="blocks")
                     if isinstance(m, nn.Linear)]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_projection_multiplies_what_is_left_in_8_bits(scaling):
    layer = fp8_model(scaling).model.blocks[0].attention.qkv
    x = torch.randn(5, 7, 32, generator=torch.Generator().manual_seed(0)).bfloat16()
    axis = None if scaling == "tensorwise" else -1
    expected = rounded(x, axis) @ rounded(layer.weight, axis).T
    torch.testing.assert_close(layer(x).float(), expected, rtol=8e-3, atol=1e-4)
    exact = x.float() @ layer.weight.float().T
    error = float((expected - exact).norm() / exact.norm())
    assert 0.01 < error < 0.06


@pytest.mark.parametrize("scaling", SCALINGS)
def test_loss_and_gradients_are_near_those_of_bf16_and_not_the_same(scaling):
    ids, targets = counting(0)
    wide = {"width": 64, "depth": 4, "init_std": 0.1}
    loss, expected = gradients(MixedPrecision(make_model(**wide), "bf16"), ids, targets)
    found_loss, found = gradients(fp8_model(scaling, **wide), ids, targets)
    assert 0 < abs(found_loss - loss) < 0.02 * loss
    assert 0.01 < float((found - expected).norm() / expected.norm()) < 0.2


def test_counting_is_learnt_with_a_scale_for_each_row():
    run = Steps("fp8", fp8=Fp8Settings(scaling="rowwise"))
    losses = [run.step()[0] for _ in range(60)]
    assert losses[-1] < 0.1


def test_the_master_is_that_of_any_precision():
    """Checkpoints hold the master: any precision goes on from any other's."""
    run = Steps("fp8")
    run.step()
    weights = run.weights()
    assert weights.keys() == make_model().state_dict().keys()
    assert {value.dtype for value in weights.values()} == {torch.float32}
    other = MixedPrecision(make_model(), "bf16")
    other.master_model.load_state_dict(weights)
    other.refresh()
    assert same(
        dict(other.model.named_parameters()), dict(run.mixed_precision.model.named_parameters())
    )


def test_any_number_of_tokens():
    """The last step of a phase may be any number of rows and tokens."""
    mixed_precision = fp8_model()
    loss, found = gradients(mixed_precision, *counting(0, rows=1, length=3))
    assert loss > 0 and bool(found.isfinite().all())


def test_a_copy_is_in_fp8_and_leaves_the_original_alone():
    run = Steps("fp8")
    other = copy.deepcopy(run)
    assert fp8_modules(other.mixed_precision.model) == projection_modules(make_model())
    before = run.weights()
    other.step()
    assert same(run.weights(), before) and not same(other.weights(), before)
    assert other.step()[0] != run.step()[0]


@pytest.mark.parametrize("precision", ["fp16", "fp8"])
def test_layers_that_are_recomputed_give_the_same_gradients(precision):
    ids, targets = counting(0)
    mixed_precision = MixedPrecision(make_model(), precision)
    expected = gradients(mixed_precision, ids, targets)
    mixed_precision.model.checkpoint_every = 1
    found = gradients(mixed_precision, ids, targets)
    assert found[0] == expected[0] and torch.equal(found[1], expected[1])


@pytest.mark.parametrize("precision", ["fp16", "fp8"])
def test_a_wrapper_around_the_model(precision):
    from torch import distributed

    ids, targets = counting(0)
    mixed_precision = MixedPrecision(make_model(), precision)
    _, expected = gradients(mixed_precision, ids, targets)
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)

    def wrapped_step():
        wrapped = nn.parallel.DistributedDataParallel(mixed_precision.model)
        total, _ = wrapped(ids, targets)
        (total / targets.numel() * mixed_precision.loss_factor).backward()

    try:
        wrapped_step()
        mixed_precision.collect()
        # The wrapper goes before the group. It would destroy the group while holding the GIL, which
        # the group's thread may need to end: a deadlock (torch 2.13, gloo).
        gc.collect()
    finally:
        distributed.destroy_process_group()
    found = torch.cat([p.grad.flatten() for p in mixed_precision.master_model.parameters()])
    assert torch.equal(found, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # tracing and compiling warn of their own doings
def test_compiled_layers():
    ids, targets = counting(0)
    mixed_precision = fp8_model()
    loss, expected = gradients(mixed_precision, ids, targets)
    mixed_precision.model.compiles = True
    found_loss, found = gradients(mixed_precision, ids, targets)
    assert found_loss == pytest.approx(loss, abs=5e-3)
    assert float((found - expected).norm() / expected.norm()) < 0.1


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.width=40", "model.head_width=16"], "model.width is 40"),
        (["model.ffn_width=60"], "model.ffn_width is 60"),
        (["model.head_width=24"], "model.num_kv_heads x head_width is 24"),
        (["train.fp8.engine=none"], "engine"),
        (["train.fp8.engine=transformer_engine", "train.fp8.scaling=rowwise"], "rowwise"),
    ],
)
def test_what_fp8_cannot_do_is_refused_when_the_recipe_is_read(tmp_path, overrides, said):
    path = str(write_tiny(tmp_path))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, ["train.precision=fp8", *overrides])
    (line,) = str(caught.value).splitlines()
    assert said in line
    assert load_recipe(path, [*overrides[:1], "train.precision=bf16"]).train.precision == "bf16"


def test_sizes_that_do_not_divide_are_refused_by_the_twin_too():
    with pytest.raises(YxanulError, match="ffn_width is 40"):
        fp8_model(ffn_width=40)


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.float8", None)
    ao._import.cache_clear()
    with pytest.raises(YxanulError, match=r"'yxanul\[fp8\]'"):
        fp8_model()


@pytest.mark.slow
def test_nothing_is_said_and_nothing_is_imported_before_it_is_needed():
    code = """
import sys
from yxanul.train.mixed_precision.weights import MixedPrecision
assert "torchao" not in sys.modules
from steps import make_model
MixedPrecision(make_model(), "fp8")
assert "torchao" in sys.modules
"""
    command = [sys.executable, "-W", "error", "-c", code]
    env_path = [path for path in sys.path if path]
    result = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": ":".join(env_path)}
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
