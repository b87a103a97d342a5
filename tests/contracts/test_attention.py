"""What every attention back end must satisfy: it equals `plain` in values and in gradients."""

from itertools import product

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.model.attention import BACKENDS, flex
from yxanul.model.attention.backend import Shape
from yxanul.model.attention.choice import choose
from yxanul.model.attention.mask import MaskSpec

LENGTHS = (1, 60, 128, 300)
"""Within a block of queries, a whole one, and some that do not fill the last."""
WINDOWS = (None, 1, 5, 130, 400)
KV_HEADS = (1, 2, 4)
BATCH, NUM_HEADS, HEAD_WIDTH, SCALE = 2, 4, 24, 0.31
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ONE_PERCENT = 1e-2

DEFINITION = BACKENDS["reference"]
OTHERS = [name for name in BACKENDS if name != "reference"]


def documents_of(length):
    """Documents of 1, 2, 3 ... tokens in the first row; one, and a last token, in the second."""
    numbers = torch.arange(length).repeat_interleave(torch.arange(1, length + 1))[:length]
    last = torch.arange(length) == length - 1
    return torch.stack([numbers, last.long()]).to(DEVICE)


def shape_of(length, kv_heads, window, dtype, has_documents):
    return Shape(
        DEVICE.type, dtype, BATCH, length, NUM_HEADS, kv_heads, HEAD_WIDTH,
        None if window is None or window >= length else window, has_documents,
    )  # fmt: skip


def context_of(backend, shape, window):
    mask_spec = MaskSpec(window, documents_of(shape.length) if shape.documents else None)
    return backend.context(mask_spec, shape, DEVICE)


def inputs(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    heads = (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads, shape.num_heads)
    return [
        torch.randn((BATCH, shape.length, n, shape.head_width), generator=generator)
        .to(DEVICE, shape.dtype)
        .requires_grad_()
        for n in heads
    ]


def results(context, q, k, v, upstream):
    """Return the values and the gradients of queries, keys and values."""
    y = context.attend(q, k, v, SCALE)
    return y, *torch.autograd.grad(y, (q, k, v), upstream)


def skip_unless_able(backend, shape):
    reason = backend.unsupported_reason(shape)
    if reason is not None:
        pytest.skip(reason)


def by_hand(context, q, k, v):
    """Attend query by query, in fp64, with a loop over all that it may see."""
    y = torch.zeros(q.shape, dtype=torch.float64)
    mask_spec, repeats = context.mask_spec, q.shape[2] // k.shape[2]
    for b, i, h in product(range(BATCH), range(q.shape[1]), range(q.shape[2])):
        seen = [
            j
            for j in range(i + 1)
            if (mask_spec.window is None or i - j < mask_spec.window)
            and (
                mask_spec.documents_BT is None
                or mask_spec.documents_BT[b, i] == mask_spec.documents_BT[b, j]
            )
        ]
        keys, values = k[b, seen, h // repeats].double(), v[b, seen, h // repeats].double()
        y[b, i, h] = torch.softmax(SCALE * keys @ q[b, i, h].double(), 0) @ values
    return y


@pytest.mark.parametrize("has_documents", [False, True])
@pytest.mark.parametrize("window", [None, 1, 5, 40])
def test_the_definition_is_what_it_says(window, has_documents):
    shape = shape_of(12, 2, window, torch.float32, has_documents)
    context = context_of(DEFINITION, shape, window)
    q, k, v, _ = (x.detach() for x in inputs(shape))
    y = context.attend(q, k, v, SCALE).cpu()
    expected = by_hand(context, q.cpu(), k.cpu(), v.cpu()).float()
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("has_documents", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", OTHERS)
def test_equals_the_definition_in_fp32(name, length, has_documents):
    for window, kv_heads in product(WINDOWS, KV_HEADS):
        shape = shape_of(length, kv_heads, window, torch.float32, has_documents)
        skip_unless_able(BACKENDS[name], shape)
        tensors = inputs(shape)
        ours = results(context_of(BACKENDS[name], shape, window), *tensors)
        expected = results(context_of(DEFINITION, shape, window), *tensors)
        for got, wanted in zip(ours, expected, strict=True):
            assert got.shape == wanted.shape and got.dtype == wanted.dtype
            torch.testing.assert_close(
                got, wanted, rtol=1e-5, atol=1e-5, msg=lambda m, s=shape: f"{s}: {m}"
            )


@pytest.mark.parametrize("has_documents", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", BACKENDS)
def test_is_near_the_definition_in_bf16(name, length, has_documents):
    """Within one per cent of what fp32 makes of the same inputs; less than a step is nothing."""
    for window, kv_heads in zip(WINDOWS[::2], KV_HEADS, strict=True):
        shape = shape_of(length, kv_heads, window, torch.bfloat16, has_documents)
        skip_unless_able(BACKENDS[name], shape)
        low = inputs(shape)
        high = [x.detach().float().requires_grad_() for x in low]
        ours = results(context_of(BACKENDS[name], shape, window), *low)
        exact = results(context_of(DEFINITION, shape, window), *high)
        for got, wanted in zip(ours, exact, strict=True):
            assert got.dtype == torch.bfloat16
            error, least = (got - wanted).norm(), 1e-3 * wanted.numel() ** 0.5
            assert error <= ONE_PERCENT * wanted.norm() + least, shape


@pytest.mark.parametrize("name", OTHERS)
def test_without_gradients_it_is_the_same(name):
    for window, has_documents in product((None, 5, 130), (False, True)):
        shape = shape_of(300, 2, window, torch.float32, has_documents)
        skip_unless_able(BACKENDS[name], shape)
        q, k, v, _ = inputs(shape)
        context = context_of(BACKENDS[name], shape, window)
        y = context.attend(q, k, v, SCALE)
        with torch.no_grad():
            torch.testing.assert_close(context.attend(q, k, v, SCALE), y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BACKENDS)
def test_nothing_flows_from_what_is_later(name):
    """Keys and values after a query: exactly no influence, exactly no gradient."""
    shape = shape_of(140, 2, 7, torch.float32, True)
    skip_unless_able(BACKENDS[name], shape)
    q, k, v, upstream = inputs(shape)
    context, cut = context_of(BACKENDS[name], shape, 7), 131
    y = context.attend(q, k, v, SCALE)
    later = torch.arange(shape.length, device=DEVICE)[:, None, None] >= cut
    grads = torch.autograd.grad(y, (k, v), upstream * ~later)
    assert all(grad[:, cut:].eq(0).all() for grad in grads)
    other = context.attend(q, torch.where(later, -k, k), torch.where(later, 3 * v, v), SCALE)
    assert torch.equal(other[:, :cut], y[:, :cut])


@pytest.mark.parametrize("name", BACKENDS)
def test_inputs_may_be_parts_of_one_tensor(name):
    """As the model gives them: q, k and v side by side in memory, and a gradient expanded."""
    shape = shape_of(140, 2, 5, torch.float32, False)
    skip_unless_able(BACKENDS[name], shape)
    apart = [x.detach() for x in inputs(shape)[:3]]
    together = torch.cat(apart, 2).requires_grad_()
    context = context_of(BACKENDS[name], shape, 5)
    y = context.attend(*together.split((4, 2, 2), 2), SCALE)
    y.sum().backward()
    leaves = [x.requires_grad_() for x in apart]
    expected = results(context_of(DEFINITION, shape, 5), *leaves, torch.ones_like(y))
    torch.testing.assert_close(y, expected[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together.grad, torch.cat(expected[1:], 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BACKENDS)
def test_it_is_known_by_its_name_and_says_what_it_cannot_do(name):
    backend = BACKENDS[name]
    assert backend.name == name
    shape = Shape("meta", torch.float32, 1, 8, 4, 2, 8, 4, True)
    reason = backend.unsupported_reason(shape)
    if reason is None:
        assert choose(shape, name, trains=True) is backend
    else:
        with pytest.raises(YxanulError, match=reason):
            choose(shape, name, trains=True)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(
    ("kv_heads", "window", "documents"), [(4, None, True), (1, 5, False), (2, 5, True)]
)
def test_flex_attends_as_the_definition_does(monkeypatch, kv_heads, window, documents):
    """Forward and op by op, which a CPU can do too."""
    monkeypatch.setattr(flex, "compiled", lambda function: function)
    shape = shape_of(60, kv_heads, window, torch.float32, documents)
    q, k, v, _ = (x.detach() for x in inputs(shape))
    with torch.no_grad():
        expected = context_of(DEFINITION, shape, window).attend(q, k, v, SCALE)
        found = context_of(BACKENDS["flex"], shape, window).attend(q, k, v, SCALE)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
