"""A token changes nothing before it: not by rounding either, the difference is 0."""

import pytest
import torch

from yxanul.model.attention import BACKENDS, cpu_blockwise
from yxanul.model.attention.backend import Shape
from yxanul.model.cache import KvCache

DEPTH, LENGTH, VOCAB = 2, 21, 50
KINDS = {
    "global": {},
    "learned": {"positions": "learned"},
    "documents": {"document_masking": True, "positions": "rope+learned"},
    "windows": {"layer_pattern": "L", "window": 4},
    "mixed": {"layer_pattern": "LG", "window": 3, "qk_norm": True},
    "windows, documents": {"layer_pattern": "L", "window": 4, "document_masking": True},
}
USABLE = [
    name
    for name, backend in BACKENDS.items()
    if not backend.unsupported_reason(
        Shape("cpu", torch.float32, 1, LENGTH, 4, 2, 8, window=4, documents=True)
    )
]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def model(build, kind, monkeypatch):
    monkeypatch.setattr(cpu_blockwise, "QUERIES_IN_BLOCK", 8)
    return build(num_kv_heads=2, depth=DEPTH, init_std=0.25, **KINDS[kind])


@pytest.fixture
def ids_BT(generator):
    return torch.randint(0, VOCAB, (2, LENGTH), generator=generator)


@pytest.fixture
def documents_BT():
    """One row of three documents, with a border at the edge of a block, and one of one."""
    lengths = torch.tensor([8, 4, LENGTH - 12])
    return torch.stack([torch.arange(3).repeat_interleave(lengths), torch.zeros(LENGTH).long()])


def changed(ids_BT, j):
    other_BT = ids_BT.clone()
    other_BT[:, j] = (other_BT[:, j] + 7) % VOCAB
    return other_BT


def is_seen(settings, documents_BT, j):
    """Which tokens hear of token j through all layers, by the definition; BT."""
    index_T = torch.arange(LENGTH)
    same_BT = torch.ones(2, LENGTH, dtype=torch.bool)
    if settings.document_masking:
        same_BT = documents_BT == documents_BT[:, j : j + 1]
    reach = sum(
        LENGTH if kind == "G" else (settings.window or LENGTH) - 1 for kind in settings.layer_kinds
    )
    return same_BT & (index_T >= j) & (index_T - j <= reach)


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize("trains", [True, False])
def test_only_later_tokens_in_sight_change(model, ids_BT, documents_BT, name, trains):
    model.attention_backend = name

    def logits(ids_BT):
        with torch.set_grad_enabled(trains):
            return model.logits(model.hidden(ids_BT, documents_BT)).detach()

    before_BTV = logits(ids_BT)
    for j in range(LENGTH):
        difference_BT = (logits(changed(ids_BT, j)) - before_BTV).abs().amax(-1)
        seen_BT = is_seen(model.settings, documents_BT, j)
        assert difference_BT[~seen_BT].eq(0).all(), j
        assert difference_BT[seen_BT].gt(1e-6).all(), j


@pytest.mark.parametrize("name", USABLE)
def test_gradients_flow_backwards_only(model, ids_BT, documents_BT, name):
    """The logits at i have no gradient with respect to the embeddings of what they do not see."""
    model.attention_backend = name
    kept = []
    model.embedding.register_forward_hook(lambda _, __, x_BTD: kept.append(x_BTD))
    logits_BTV = model.logits(model.hidden(ids_BT, documents_BT))
    for i in range(0, LENGTH, 3):
        total = logits_BTV[:, i].square().sum()
        (grad_BTD,) = torch.autograd.grad(total, kept, retain_graph=True)
        seen_BT = torch.stack(
            [is_seen(model.settings, documents_BT, j)[:, i] for j in range(LENGTH)], 1
        )
        assert torch.equal(grad_BTD.abs().amax(-1) > 0, seen_BT), i


@pytest.mark.parametrize("name", USABLE)
def test_padding_on_the_right_changes_nothing_before_it(model, ids_BT, documents_BT, name):
    model.attention_backend = name
    length = 13
    with torch.no_grad():
        logits = [
            model.logits(model.hidden(ids, documents_BT[:, : ids.shape[1]]))[:, :length]
            for ids in (
                ids_BT[:, :length],
                ids_BT,
                torch.cat([ids_BT[:, :length], torch.zeros_like(ids_BT[:, length:])], 1),
            )
        ]
    assert torch.equal(logits[1], logits[2])
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["global", "learned", "windows", "mixed"], indirect=True)
def test_through_a_cache_only_later_tokens_change(model, ids_BT):
    """Several tokens at once after a prompt: none hears of the ones after it."""
    prompt, rest = ids_BT.split([9, LENGTH - 9], 1)

    def logits(rest_BT):
        with torch.no_grad():
            cache = KvCache(model.settings, 2, LENGTH)
            model.hidden(prompt, cache=cache)
            return model.logits(model.hidden(rest_BT, cache=cache))

    before_BTV = logits(rest)
    for j in range(rest.shape[1]):
        difference_T = (logits(changed(rest, j)) - before_BTV).abs().amax(-1).amax(0)
        assert difference_T[:j].eq(0).all() and difference_T[j] > 1e-3


@pytest.mark.parametrize("kind", ["global", "learned", "windows", "mixed"], indirect=True)
@pytest.mark.parametrize("is_static", [False, True])
def test_padding_of_prompts_changes_nothing_after_it(model, ids_BT, is_static):
    """Rows of 2 and 9 tokens: whatever pads the first, all that it says later is the same."""
    lengths_B, more = torch.tensor([2, 9]), ids_BT[:, 9:16]

    def logits(padding):
        prompts = ids_BT[:, :9].clone()
        prompts[0, 2:] = padding
        cache = KvCache(model.settings, 2, LENGTH)
        cache.is_static, cache.lengths_B = is_static, lengths_B.clone()
        with torch.no_grad():
            first = model.logits(model.hidden(prompts, cache=cache))
            parts = [model.logits(model.hidden(part, cache=cache)) for part in more.split(1, 1)]
        return first[0, :2], first[1], torch.cat(parts, 1)

    for zeros, others in zip(logits(0), logits(ids_BT[1, :7]), strict=True):
        assert torch.equal(zeros, others)
