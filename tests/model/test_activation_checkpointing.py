"""Layers that are recomputed for their gradients train to the same bits, with less kept."""

import copy
import subprocess
import sys

import pytest
import torch

from yxanul.model import compile
from yxanul.model.cache import KvCache
from yxanul.train.mixed_precision.weights import MixedPrecision

DEPTH = 4
KINDS = {
    "llama": {"num_kv_heads": 2},
    "gemma": {
        "norm": "zero_centered_rmsnorm",
        "post_norm": True,
        "qk_norm": True,
        "ffn": "geglu",
        "layer_pattern": "LLLG",
        "window": 5,
        "rope_theta_local": 1e4,
        "num_kv_heads": 1,
        "head": "tied",
    },
    "packed": {"document_masking": True, "layer_pattern": "LG", "window": 6, "qk_norm": True},
    "plain": {"norm": "layernorm", "ffn": "gelu", "positions": "learned"},
}
DTYPES = [torch.float32, torch.bfloat16]
DOCUMENTS = torch.tensor([[0] * 3 + [1] * 9 + [2] * 12, [0] * 20 + [1] * 4])


@pytest.fixture
def ids(generator):
    return torch.randint(0, 50, (2, 25), generator=generator)


def loss_and_gradients(model, ids, every):
    model.checkpoint_every = every
    model.zero_grad()
    loss = model.loss(ids[:, :-1], ids[:, 1:], DOCUMENTS)
    loss.total.backward()
    return [loss.total.detach(), *(weight.grad.clone() for weight in model.parameters())]


def assert_same(ours, expected):
    for one, other in zip(ours, expected, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def kept(model, ids, every):
    """Return the bytes that are kept from the forward to the backward pass, without weights.

    What a recomputed layer keeps inside is not seen by a hook around it, so its input is added.
    """
    held = {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage
        return tensor

    model.checkpoint_every = every
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model.loss(ids[:, :-1], ids[:, 1:], DOCUMENTS)
    size = sum(storage.nbytes() for storage in held.values())
    loss.total.backward()
    checkpointed = 0 if every is None else DEPTH // every
    weight = model.embedding.tokens
    return size + checkpointed * ids[:, 1:].numel() * model.settings.width * weight.itemsize


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_every_gradient_is_the_same_to_the_bit(build, ids, kind, dtype, backend):
    model = build(depth=DEPTH, init_std=0.1, **KINDS[kind]).to(dtype)
    model.attention_backend = backend
    expected = loss_and_gradients(model, ids, None)
    assert all(gradient.abs().sum() > 0 for gradient in expected)
    for every in (1, 2, 3, 9):
        assert_same(loss_and_gradients(model, ids, every), expected)


@pytest.mark.parametrize("kind", ["gemma", "packed"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_is_the_same_to_the_bit(build, generator, kind, precision):
    batches = torch.randint(0, 50, (6, 2, 25), generator=generator)

    def train(every):
        mixed_precision = MixedPrecision(build(depth=DEPTH, init_std=0.1, **KINDS[kind]), precision)
        mixed_precision.model.checkpoint_every = every
        optimizer = torch.optim.AdamW(mixed_precision.master_model.parameters(), lr=1e-2)
        losses = []
        for pair in batches.split(2):
            for ids in pair:
                loss = mixed_precision.model.loss(ids[:, :-1], ids[:, 1:], DOCUMENTS)
                loss.total.backward()
                mixed_precision.collect()
                losses.append(loss.total.item())
            optimizer.step()
            mixed_precision.refresh()
            optimizer.zero_grad()
        return losses, [weight.detach() for weight in mixed_precision.master_model.parameters()]

    (losses, weights), (plain_losses, plain_weights) = train(1), train(None)
    assert losses == plain_losses and len(set(losses)) == 6
    assert_same(weights, plain_weights)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_more_layers_the_less_is_kept(build, ids, kind, dtype):
    model = build(depth=DEPTH, **KINDS[kind]).to(dtype)
    none, half, full = (kept(model, ids, every) for every in (None, 2, 1))
    assert full < 0.5 * none
    assert half - full == pytest.approx(none - half, rel=0.2)


def test_only_named_layers_run_twice_and_only_in_training(build, ids):
    model = build(depth=5)
    runs = [0] * 5
    for layer, block in enumerate(model.layers()):
        block.register_forward_pre_hook(
            lambda *_, layer=layer: runs.__setitem__(layer, runs[layer] + 1)
        )

    def counted(every, run):
        model.checkpoint_every = every
        runs[:] = [0] * 5
        run()
        return list(runs)

    def training():
        model.loss(ids, ids).total.backward()

    assert counted(None, training) == [1] * 5
    assert counted(1, training) == [2] * 5
    assert counted(2, training) == [1, 2, 1, 2, 1]
    assert counted(5, training) == [1, 1, 1, 1, 2]
    assert counted(6, training) == [1] * 5
    assert counted(1, lambda: model.token_scores(ids, ids)[0]) == [1] * 5

    def cached():
        model.hidden(ids, cache=KvCache(model.settings, 2, 32, torch.float32, "cpu")).sum()

    assert counted(1, cached) == [1] * 5


def test_a_copy_recomputes_too(build):
    model = build()
    model.checkpoint_every = 1
    assert copy.deepcopy(model).checkpoint_every == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["llama", "gemma", "packed"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_layers_are_recomputed_too(build, ids, kind, dtype):
    if (reason := compile.compile_unsupported_reason("cpu")) is not None:
        pytest.skip(f"torch.compile does not work here: {reason}")
    torch._dynamo.reset()
    model = build(depth=DEPTH, init_std=0.1, **KINDS[kind]).to(dtype)
    model.compiles = True
    expected = loss_and_gradients(model, ids, None)
    for every in (1, 2):
        assert_same(loss_and_gradients(model, ids, every), expected)
    assert kept(model, ids, 1) < 0.7 * kept(model, ids, None)


PEAK = """
import resource, sys, torch
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
torch.set_num_threads(1)
settings = ModelSettings(width=128, depth=12, num_heads=4, max_seq_len=512, vocab_size=64)
model = LanguageModel(settings)
model.init_weights(torch.Generator().manual_seed(0))
model.checkpoint_every = int(sys.argv[1]) or None

def peak_after(rows):
    ids = torch.zeros(rows, 512, dtype=torch.int64)
    model.loss(ids, ids).total.backward()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before = peak_after(1)
print(peak_after(16) - before)
"""


@pytest.mark.slow
def test_a_process_grows_less():
    grown = {}
    for every in (0, 2, 1):
        run = [sys.executable, "-c", PEAK, str(every)]
        grown[every] = float(subprocess.run(run, capture_output=True, check=True).stdout)
    assert grown[1] < 0.6 * grown[0], grown
    assert grown[1] < 0.8 * grown[2] < 0.8 * 0.85 * grown[0], grown
