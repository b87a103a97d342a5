"""Compiled layers are the same layers, and all of them share a graph."""

import pytest
import torch

from yxanul.model import compile, language_model
from yxanul.model.attention import BACKENDS
from yxanul.model.attention.flash import find_sequences
from yxanul.model.attention.reference import Reference
from yxanul.model.loss import LossConfig, _losses_in_place, rows_with_gradient

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]
"""What tracing does itself; outside of tests it is not shown."""

KINDS = {
    "llama": {"num_kv_heads": 2},
    "gemma": {
        "norm": "zero_centered_rmsnorm",
        "post_norm": True,
        "qk_norm": True,
        "ffn": "geglu",
        "layer_pattern": "LG",
        "window": 5,
    },
}


@pytest.fixture
def traced(monkeypatch):
    """Trace as torch.compile does, but run what was traced op by op: that takes no compiler."""
    torch._dynamo.reset()
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    run = torch.compile(language_model.run_block, dynamic=False, backend=count, fullgraph=True)
    monkeypatch.setattr(language_model, "compiled", lambda _: run)
    yield graphs
    torch._dynamo.reset()


def losses_and_gradients(model, ids, compiles):
    model.compiles = compiles
    model.zero_grad()
    loss = model.loss(ids, ids.roll(-1, 1))
    loss.total.backward()
    return [loss.total.detach(), *(parameter.grad.clone() for parameter in model.parameters())]


@pytest.mark.parametrize(("kind", "dtype"), [("llama", torch.bfloat16), ("gemma", torch.float32)])
def test_one_graph_serves_all_layers_of_a_kind(build, generator, traced, kind, dtype):
    model = build(depth=4, init_std=0.1, **KINDS[kind]).to(dtype)
    ids = torch.randint(0, 50, (2, 16), generator=generator)
    op_by_op = losses_and_gradients(model, ids, compiles=False)
    assert not traced
    for _ in range(2):
        as_graphs = losses_and_gradients(model, ids, compiles=True)
    assert len(traced) == len(set(model.settings.layer_kinds))
    near = 1e-5 if dtype == torch.float32 else 5e-2
    for ours, expected in zip(as_graphs, op_by_op, strict=True):
        error = (ours.float() - expected.float()).norm()
        assert error <= near * expected.float().norm()
    with torch.no_grad():
        model.loss(ids[:, :7], ids[:, :7])
    assert len(traced) == len(set(model.settings.layer_kinds)), "evaluation is not compiled"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_real_compiler_changes_nothing(build, generator, kind):
    if (reason := compile.compile_unsupported_reason("cpu")) is not None:
        pytest.skip(f"torch.compile does not work here: {reason}")
    torch._dynamo.reset()
    model = build(depth=3, init_std=0.1, **KINDS[kind])
    ids = torch.randint(0, 50, (2, 16), generator=generator)
    op_by_op, fused = (losses_and_gradients(model, ids, compiles) for compiles in (False, True))
    for ours, expected in zip(fused, op_by_op, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_the_reason_against_is_one_line(monkeypatch):
    def broken(function):
        raise RuntimeError("no compiler\nand much more")

    compile.compile_unsupported_reason.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    try:
        assert compile.compile_unsupported_reason("cpu") == "no compiler"
    finally:
        compile.compile_unsupported_reason.cache_clear()


@pytest.mark.parametrize("soft_cap", [None, 3.0])
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_the_formula_for_the_compiler_is_that_of_the_head(generator, soft_cap, z_loss):
    loss_config = LossConfig(45, soft_cap, z_loss)
    logits = torch.randn(20, 48, generator=generator) * 4
    targets = torch.randint(0, 45, (20,), generator=generator)
    targets[[2, 9]] = -100
    losses, gradient = rows_with_gradient(logits, targets, loss_config)
    expected = _losses_in_place(logits, targets, loss_config, 7, True)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, logits, rtol=1e-5, atol=1e-6)


def test_another_number_of_documents_is_no_other_graph(build, generator, monkeypatch):
    """Where each document begins is a tensor whose length changes from batch to batch."""
    torch._dynamo.reset()
    graphs = []

    class BySequences(Reference):
        def prepare(self, mask_spec, shape, device):
            mask = super().prepare(mask_spec, shape, device)
            return mask, find_sequences(mask_spec, shape.batch, shape.length, device).starts

        def attend(self, q_BTHK, k_BTGK, v_BTGK, prepared, scale):
            mask, starts = prepared
            y_BTHK = super().attend(q_BTHK, k_BTGK, v_BTGK, mask, scale)
            return y_BTHK + 0 * starts.sum()

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    run = torch.compile(language_model.run_block, dynamic=False, backend=count)
    monkeypatch.setattr(language_model, "compiled", lambda _: run)
    monkeypatch.setitem(BACKENDS, "reference", BySequences())
    model = build(document_masking=True)
    model.attention_backend, model.compiles = "reference", True
    ids = torch.randint(0, 50, (2, 16), generator=generator)
    for length in range(2, 10):
        documents = (torch.arange(16) // length).expand(2, -1)
        model.loss(ids, ids, documents).total.backward()
    torch._dynamo.reset()
    assert len(graphs) <= 2
